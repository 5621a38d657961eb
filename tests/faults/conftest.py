"""Real servers: shared ones, of which a test gets a database, and private ones to break."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeAlias
from uuid import uuid4

import pytest
from tests.faults.servers import PrivateServer

from healthstore.abc import BackendURL
from healthstore.testing.plugin import EmptyBackend
from healthstore.testing.provision import PROVISIONS, SERVERS, server_url

NewDatabase: TypeAlias = Callable[[str], Awaitable[str]]


@pytest.fixture
async def new_database(healthstore_empty: EmptyBackend) -> AsyncIterator[NewDatabase]:
    """Return a function from the name of a shared server to the URL of a new database there."""
    made: list[BackendURL] = []

    async def new(name: str) -> str:
        async with healthstore_empty(name):  # skips, or fails, where there is no server
            server = server_url(name, os.environ)
        assert server is not None
        database = f"faults_{uuid4().hex[:12]}"
        made.append(await PROVISIONS[server.scheme].create(server, database))
        text = os.environ[SERVERS[name] or ""]
        head, mark, options = text.partition("?")
        return f"{head.rpartition('/')[0]}/{database}{mark}{options}"

    yield new
    for url in made:
        await PROVISIONS[url.scheme].drop(url)


def _private(request: pytest.FixtureRequest, name: str) -> Iterator[PrivateServer]:
    reason = PrivateServer.absent(name)
    if reason:
        required = str(request.config.getoption("--healthstore-require")).split(",")
        if name in required:
            pytest.fail(reason)
        pytest.skip(reason)
    server = PrivateServer(name)
    try:
        server.up()
        yield server
    finally:
        server.cont()
        server.close()


@pytest.fixture(scope="session")
def _postgresql_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    yield from _private(request, "postgresql")


@pytest.fixture(scope="session")
def _mariadb_server(request: pytest.FixtureRequest) -> Iterator[PrivateServer]:
    yield from _private(request, "mariadb")


def _restored(server: PrivateServer) -> PrivateServer:
    server.cont()
    server.up()  # a test before may have killed it
    return server


@pytest.fixture
def private_postgresql(_postgresql_server: PrivateServer) -> PrivateServer:
    """Return a PostgreSQL server that a test may kill: it runs when the next one begins."""
    return _restored(_postgresql_server)


@pytest.fixture
def private_mariadb(_mariadb_server: PrivateServer) -> PrivateServer:
    """Return a MariaDB server that a test may kill: it runs when the next one begins."""
    return _restored(_mariadb_server)
