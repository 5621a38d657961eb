"""What a backend's author runs: the contract, and the tools that run it.

- :mod:`healthstore.testing.contract`: the promises of a backend, as tests to inherit;
- :mod:`healthstore.testing.provision`: empty, disposable databases on real servers;
- :mod:`healthstore.testing.plugin`: the options and fixtures for pytest, always there;
- :mod:`healthstore.testing.strategies`: Hypothesis strategies for values, filters and orders.

The contract needs ``pytest``, ``pytest-asyncio`` and ``hypothesis``.
"""

from __future__ import annotations
