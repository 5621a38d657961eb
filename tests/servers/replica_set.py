"""What the tests of the replica set share: its address, types, and questions to a collection.

`HEALTHSTORE_TEST_MONGODB_RS_URL` names the server: our gateway, or a real MongoDB, of which the
same holds.
"""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import pytest
from pymongo import ASCENDING, AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

URL = os.environ.get("HEALTHSTORE_TEST_MONGODB_RS_URL", "")
needs_server = pytest.mark.skipif(not URL, reason="HEALTHSTORE_TEST_MONGODB_RS_URL is not set")

Document: TypeAlias = dict[str, Any]
Client: TypeAlias = AsyncMongoClient[Document]
Database: TypeAlias = AsyncDatabase[Document]
Collection: TypeAlias = AsyncCollection[Document]


async def ids(rows: Collection, session: AsyncClientSession | None = None) -> list[Any]:
    """Return the ids of all documents, in order."""
    found = rows.find({}, {"_id": 1}, sort=[("_id", ASCENDING)], session=session)
    return [document["_id"] for document in await found.to_list()]
