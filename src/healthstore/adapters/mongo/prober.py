"""A client of its own to a MongoDB deployment, for checks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, OperationFailure
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from healthstore.abc.adapter import silence_values
from healthstore.abc.examination import Examination
from healthstore.abc.farewell import farewell
from healthstore.abc.prober import Figures, Vitals
from healthstore.abc.unit import Phase
from healthstore.adapters.mongo.codec import Stored
from healthstore.adapters.mongo.errors import translated
from healthstore.adapters.mongo.examination import examine
from healthstore.adapters.mongo.options import ClientOptions
from healthstore.adapters.mongo.pool import Pools, close_client
from healthstore.errors import HealthstoreError, LifecycleError
from healthstore.model.catalog import CATALOG
from healthstore.model.filling import is_mark

__all__ = ("CANARY", "MongoProber")

CANARY = "healthstore_canary"
"""The collection of one document that checks write; it is in no catalog."""
_FAREWELL = 0.1
# From here on the server's estimate is close enough; below, counting is cheap.
_COUNTED_BELOW = 10_000
# Its own retries would hide what a check is there to see.
_ARGUMENTS: Mapping[str, Any] = {"maxPoolSize": 2, "retryReads": False, "retryWrites": False}


class MongoProber:
    """A prober with a client of its own; see :class:`~healthstore.abc.prober.Prober`."""

    def __init__(self, name: str, options: ClientOptions) -> None:
        self._name = name
        self._options = options
        self._client: AsyncMongoClient[Stored] | None = None
        self._pools = Pools()
        self._connected = False

    async def connect(self) -> None:
        """Find a server and log in; one that refuses is reported at once."""
        if self._connected:
            return
        silence_values("pymongo.command")
        options = self._options
        async with self._translated(Phase.CONNECT):
            if self._client is None:
                self._pools = Pools()
                self._client = AsyncMongoClient(
                    options.address, _pool_class=self._pools, **{**options.arguments, **_ARGUMENTS}
                )
            await self._command("hello")
            # Logging in is left to the first command that needs it.
            await self._command("listCollections", nameOnly=True, filter={"name": CATALOG.name})
        self._connected = True

    async def check(self) -> Vitals:
        """Ask in one round trip whether it answers and takes writes."""
        self._require_connected()
        async with self._translated(Phase.READ):
            hello = await self._command("hello")
        if hello.get("isWritablePrimary", hello.get("ismaster", False)):
            return Vitals()
        return Vitals(writable=False, reason="no primary can be reached, only a secondary")

    async def write(self) -> None:
        """Change the one document of the collection of checks; the first write makes it."""
        canary = self._database[CANARY]
        async with self._translated(Phase.WRITE):
            with suppress(DuplicateKeyError):  # another process has just made it: that was a write
                await canary.update_one({"_id": 1}, {"$inc": {"writes": 1}}, upsert=True)

    async def measure(self) -> Figures:
        """Ask for the figures; what the server or the user's rights do not give is None."""
        self._require_connected()
        async with self._translated(Phase.READ):
            build = await self._command("buildInfo")
            size = await self._optional("dbStats")
            status = await self._optional("serverStatus", recordStats=0)
            documents = await self._documents()
        product, version = _product(build)
        queue = status.get("globalLock", {}).get("currentQueue", {})
        return Figures(
            f"{product} {version}",
            bytes=_number(size.get("totalSize", size.get("storageSize"))),
            documents=documents,
            connections=_number(status.get("connections", {}).get("current")),
            waiting=_number(queue.get("total")),
        )

    async def examine(self) -> Examination:
        """Ask how the deployment is set up; changes nothing."""
        client = self._require_connected()
        async with self._translated(Phase.READ):
            return await examine(client.admin, self._options.arguments)

    async def close(self) -> None:
        """Close the client; a server that hangs is not waited for."""
        client, self._client, self._connected = self._client, None, False
        if client is not None:
            await farewell(close_client(client, _FAREWELL))

    # --- asking ------------------------------------------------------------------------------

    def _require_connected(self) -> AsyncMongoClient[Stored]:
        if self._client is None or not self._connected:
            raise LifecycleError(
                "the prober is not connected", hint="call connect() first", backend=self._name
            )
        return self._client

    @property
    def _database(self) -> AsyncDatabase[Stored]:
        return self._require_connected()[self._options.database]

    async def _command(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """Run a command on the primary or, while there is none, on a secondary."""
        client = self._client
        assert client is not None
        database = client.get_database(
            self._options.database,
            read_preference=ReadPreference.PRIMARY_PREFERRED,
            read_concern=ReadConcern("local"),
        )
        return await self._pools.answer(client, database.command(name, **arguments))

    async def _optional(self, name: str, **arguments: Any) -> Mapping[str, Any]:
        """Run a command that needs a right, or that not every server has."""
        try:
            return await self._command(name, **arguments)
        except OperationFailure:
            return {}

    async def _documents(self) -> Mapping[str, int]:
        """Count the documents of the collections that the catalog knows, from its metadata."""
        database = self._require_connected().get_database(
            self._options.database,
            read_preference=ReadPreference.PRIMARY_PREFERRED,
            read_concern=ReadConcern("local"),
        )
        rows = await database[CATALOG.name].find({}, {"name": 1}).to_list()
        names = sorted(name for row in rows if not is_mark(name := str(row["name"])))
        return {name: await _count(database[name]) for name in names}

    @asynccontextmanager
    async def _translated(self, phase: Phase) -> AsyncGenerator[None, None]:
        try:
            yield
        except HealthstoreError as error:
            raise error.at(backend=self._name) from None
        except Exception as error:  # noqa: BLE001 - translated, as in Adapter.execute
            ours = translated(error, phase, None, self._pools.unreached(self._client))
            raise ours.at(backend=self._name) from None


async def _count(collection: AsyncCollection[Stored]) -> int:
    """Return how many documents there are: counted if they are few, otherwise about."""
    about = await collection.estimated_document_count()
    return about if about >= _COUNTED_BELOW else await collection.count_documents({})


def _product(build: Mapping[str, Any]) -> tuple[str, str]:
    ferretdb = build.get("ferretdb")
    if isinstance(ferretdb, Mapping):
        return "FerretDB", str(ferretdb.get("version", "")).removeprefix("v")
    return "MongoDB", str(build.get("version", ""))


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) else None
