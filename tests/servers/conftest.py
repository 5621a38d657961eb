"""A client of the replica set, and places for a test's documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient
from tests.servers.replica_set import URL, Client, Collection, Database, Document


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Connect."""
    async with AsyncMongoClient[Document](URL) as client:
        yield client


@pytest.fixture
async def database(client: Client) -> AsyncIterator[Database]:
    """Lend a database that did not exist before and is dropped afterwards."""
    name = f"gateway_{uuid4().hex}"
    yield client[name]
    await client.drop_database(name)


@pytest.fixture
async def rows(database: Database) -> Collection:
    """Lend an empty collection."""
    return await database.create_collection("rows")
