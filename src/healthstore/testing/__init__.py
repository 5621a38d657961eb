"""Tests of services that use healthstore, and of backends for it.

For services:

- ``healthstore.testing.plugin``: the options and fixtures for pytest, always there;
- ``healthstore.testing.fake``: made-up entities that are valid and the same in every run;
- ``healthstore.testing.faults``: errors, lost answers, delays and hangs on purpose;
- ``healthstore.testing.statements``: how many operations a block of code sends;
- ``healthstore.testing.rollback``: one transaction for a whole test.

For authors of backends:

- ``healthstore.testing.contract``: the promises of a backend, as tests to inherit;
- ``healthstore.testing.claims``: each promise by its name, and what is emulated or planned;
- ``healthstore.testing.matrix``: a page of them, for each backend, from runs of the contract;
- ``healthstore.testing.differential``: random programs on memory and on a backend, compared;
- ``healthstore.testing.provision``: empty, disposable databases on real servers;
- ``healthstore.testing.edges``: values that a careless conversion would change;
- ``healthstore.testing.strategies``: Hypothesis strategies for values, filters and orders.

``python -m pip install "healthstore[testing]"`` installs what services need; the contract also
needs ``hypothesis``.
"""

from __future__ import annotations
