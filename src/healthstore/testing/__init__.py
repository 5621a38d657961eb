"""What a backend's author runs: the contract, and the tools that run it.

- ``healthstore.testing.contract``: the promises of a backend, as tests to inherit;
- ``healthstore.testing.provision``: empty, disposable databases on real servers;
- ``healthstore.testing.plugin``: the options and fixtures for pytest, always there;
- ``healthstore.testing.strategies``: Hypothesis strategies for values, filters and orders.

The contract needs ``pytest``, ``pytest-asyncio`` and ``hypothesis``.
"""

from __future__ import annotations
