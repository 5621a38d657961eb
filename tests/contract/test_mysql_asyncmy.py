"""The contract on MySQL and MariaDB by the driver asyncmy, where that is installed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from healthstore.abc import Backend
from healthstore.testing._lending import plainly
from healthstore.testing.contract import ContractTests
from healthstore.testing.provision import SERVERS, Databases, server_url

pytest.importorskip(
    "asyncmy", reason="asyncmy is absent: python -m pip install 'healthstore[asyncmy]'"
)


class AsyncmyTests(ContractTests):
    server: str

    @pytest.fixture
    async def backend(self, healthstore_databases: Databases) -> AsyncIterator[Backend]:
        """Lend an opened, empty backend."""
        url = server_url(self.server, os.environ)
        if url is None:
            pytest.skip(f"{self.server} is absent: set {SERVERS[self.server]} to its URL")
        by_asyncmy = replace(url, driver="asyncmy")
        name = f"{self.server}-asyncmy"
        async with plainly(lambda: healthstore_databases.empty(name, by_asyncmy)) as backend:
            yield backend


class TestMysqlByAsyncmy(AsyncmyTests):
    server = "mysql"


class TestMariadbByAsyncmy(AsyncmyTests):
    server = "mariadb"
