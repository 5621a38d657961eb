"""The contract through the layers that lie over every store, as they lie there, over memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from healthstore.abc import Backend
from healthstore.abc.layer import stack
from healthstore.layers.monitor import MonitorLayer
from healthstore.layers.retry import RetryLayer
from healthstore.layers.timeout import TimeoutLayer
from healthstore.testing.contract import ContractTests
from healthstore.testing.plugin import EmptyBackend


@pytest.mark.slow
class TestTimeoutOverRetryOverMonitor(ContractTests):
    @pytest.fixture
    async def backend(self, healthstore_empty: EmptyBackend) -> AsyncIterator[Backend]:
        """Lend an empty memory backend under the layers; by itself each of them changes as little."""
        async with healthstore_empty("memory") as backend:
            yield stack(backend, [TimeoutLayer, RetryLayer, MonitorLayer])
