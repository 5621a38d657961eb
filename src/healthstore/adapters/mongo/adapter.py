"""The adapter: one database of a MongoDB deployment.

What a deployment can do is read from its answer to ``hello``. A replica set or a sharded
cluster has transactions, and everything holds. A standalone server has none: writes of several
documents and checks of references are refused before anything is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from copy import deepcopy
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from healthstore.abc.adapter import Adapter, silence_values
from healthstore.abc.backend import Capabilities, UnitOptions
from healthstore.abc.places import Places
from healthstore.abc.prober import PoolFigures, Prober
from healthstore.abc.unit import Phase
from healthstore.adapters.mongo import conditional, reads, schema, writes
from healthstore.adapters.mongo.bench import MongoBench
from healthstore.adapters.mongo.codec import Codec, Stored
from healthstore.adapters.mongo.errors import translated
from healthstore.adapters.mongo.explaining import explained
from healthstore.adapters.mongo.options import ClientOptions
from healthstore.adapters.mongo.plans import explain_find
from healthstore.adapters.mongo.pool import Pools, close_client
from healthstore.adapters.mongo.prober import MongoProber
from healthstore.adapters.mongo.references import (
    References,
    lock_documents,
    lock_parents,
    remove,
)
from healthstore.adapters.mongo.session import Database, Session
from healthstore.adapters.mongo.standalone import require_transactions
from healthstore.errors import (
    Condition,
    ConfigurationError,
    HealthstoreError,
    LifecycleError,
    NotNullError,
    Outcome,
    OutOfRangeError,
)
from healthstore.model.ops import (
    Aggregate,
    Alter,
    CountDocuments,
    Delete,
    DeleteWhere,
    Drop,
    Effect,
    Ensure,
    Explained,
    Find,
    Get,
    Group,
    Insert,
    Leading,
    Op,
    Patch,
    Patches,
    PatchWhere,
    Rename,
    Replace,
)
from healthstore.model.plans import QueryPlan
from healthstore.model.query import Lookup
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Value

__all__ = ("MongoAdapter",)

R = TypeVar("R")
_Change: TypeAlias = Callable[[AsyncDatabase[Stored], Collection, Codec], Awaitable[None]]

STANDALONE = Capabilities(
    transactions=False,
    references=False,
    serializable=False,
    element_indexes=True,
    term_indexes=True,
    stops_cancelled=False,
    coalesced=frozenset({Get}),
)
TRANSACTIONAL = Capabilities(
    serializable=False,
    element_indexes=True,
    term_indexes=True,
    locks=True,
    # The server goes on with a write whose connection was closed: see `_to_its_end`.
    stops_cancelled=False,
    coalesced=frozenset({Delete, Get, Insert, Patch}),
)
# MongoDB 6.0, the first with all that is used here.
_OLDEST_WIRE_VERSION = 17
# Seconds that a cancelled write gets to end: normally it takes a millisecond, and a deadline
# may not be passed by more than a quarter of a second.
_GRACE = 0.1
# Seconds for an abort or the farewell to a server that may not answer.
_FAREWELL = 2.0


class MongoAdapter(Adapter[Session]):
    """A store in a MongoDB database."""

    capabilities = STANDALONE
    alters_whole = False

    def __init__(self, name: str, options: ClientOptions) -> None:
        super().__init__(name)
        self._options = options
        # The server, too, ends a read for which nobody waits any more.
        self._milliseconds = int(options.timeout * 1000)
        self._client: AsyncMongoClient[Stored] | None = None
        self._pools = Pools()
        self._connected: Database | None = None
        self._codecs: dict[Collection, Codec] = {}
        self._references = References()
        self._open_sessions: set[AsyncClientSession] = set()
        self._units = self._places()

    def _places(self) -> Places:
        """Return places for units: to the driver they are no connections, so nothing bounds them."""
        return Places(self._options.units, self._options.acquire_timeout, "place for a transaction")

    # --- connection ------------------------------------------------------------------------

    async def connect(self) -> None:
        """Find the server, check its version, and learn whether it has transactions."""
        silence_values("pymongo.command")
        self._client = AsyncMongoClient(
            self._options.address, _pool_class=self._pools, **self._options.arguments
        )
        self._connected = Database(self._client[self._options.database])
        try:
            async with asyncio.timeout(self._options.timeout):
                hello = await self._pools.answer(self._client, self._client.admin.command("hello"))
        except Exception as error:  # noqa: BLE001 - here, while it is known why
            raise self.ours(error, Phase.CONNECT, None) from None
        if hello.get("maxWireVersion", 0) < _OLDEST_WIRE_VERSION:
            old = ConfigurationError(
                "the MongoDB server is older than 6.0", hint="upgrade it to a supported version"
            )
            old.condition = Condition.MISCONFIGURED
            raise old
        transactional = "setName" in hello or hello.get("msg") == "isdbgrid"
        self.capabilities = TRANSACTIONAL if transactional else STANDALONE
        self._references.expire()

    async def disconnect(self) -> None:
        """Close all connections, within a few seconds even if the server hangs."""
        client, self._client, self._connected = self._client, None, None
        self._codecs.clear()
        # Locks of a unit that nobody ends would outlive its connection.
        await asyncio.gather(*map(self._end, tuple(self._open_sessions)))
        await self.ended()
        if client is not None:
            await close_client(client, _FAREWELL)
            self._pools = Pools()

    def abandon(self) -> None:
        """Forget the client and its sessions; the server ends what nobody goes on with."""
        self._client = self._connected = None
        self._codecs.clear()
        self._open_sessions.clear()
        self._units = self._places()
        self._pools = Pools()

    async def ping(self) -> None:
        """Make one round trip to a server that accepts writes."""
        self._require_open()
        try:
            async with asyncio.timeout(self._options.timeout):
                await self._database.driver.command("ping")
        except Exception as error:  # noqa: BLE001 - as in Adapter.execute
            raise self.ours(error, Phase.READ, None) from None

    @property
    def _database(self) -> Database:
        if self._connected is None:
            raise LifecycleError(
                "the backend is not open", hint="call open() first", backend=self.name
            )
        return self._connected

    def translate(
        self, error: Exception, phase: Phase, collection: Collection | None
    ) -> HealthstoreError:
        """Classify an error of the driver."""
        return translated(error, phase, collection, self._pools.unreached(self._client))

    def prober(self) -> Prober:
        """Return a prober with a client of its own."""
        return MongoProber(self.name, self._options)

    def bench(self) -> MongoBench:
        """Return what a benchmark asks; see :class:`~healthstore.abc.bench.Benched`."""
        return MongoBench(self)

    def pool(self) -> PoolFigures | None:
        """Return the figures of the driver's pools; None while the backend is closed.

        Who waits to begin a unit waits, too; an open one uses a connection while it is asked.
        """
        return self._pools.figures(self._units.waiting) if self._opened else None

    async def run(self, session: Session, op: Op[R]) -> R:
        """Run one operation; a cancellation that the driver swallowed still ends it.

        The driver waits with ``asyncio.wait_for``, which before Python 3.12 drops a cancellation
        that arrives together with the result.
        """
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        result = await super().run(session, op)
        if task.cancelling() > before:
            raise asyncio.CancelledError
        return result

    # --- sessions --------------------------------------------------------------------------

    @asynccontextmanager
    async def session(self, effect: Effect) -> AsyncGenerator[Session]:
        """Lend the database; a handler that writes several documents opens a transaction."""
        del effect
        async with asyncio.timeout(self._options.timeout) as limit:
            yield Session(self._database, limit=limit)

    async def begin_session(self, options: UnitOptions) -> Session:
        """Start a transaction when there is a place; its snapshot is that of its first operation."""
        await self._units.take()
        try:
            database = self._database
            transaction = database.driver.client.start_session()
            await transaction.start_transaction(
                read_concern=ReadConcern("snapshot"), write_concern=WriteConcern("majority", j=True)
            )
        except BaseException:
            self._units.give_back()
            raise
        self._open_sessions.add(transaction)
        return Session(database, transaction, options.read_only)

    async def commit_session(self, session: Session) -> None:
        """Commit; the driver repeats a commit whose answer was lost once."""
        transaction = session.transaction
        assert transaction is not None
        try:
            async with asyncio.timeout(self._options.timeout):
                await self._to_its_end(transaction.commit_transaction())
        except BaseException:
            self.kept(self._end(transaction))  # there is no time left to wait for that
            raise
        await self._end(transaction)

    async def rollback_session(self, session: Session) -> None:
        """Abort; a server that does not answer ends the transaction by itself."""
        assert session.transaction is not None
        await self._end(session.transaction)

    async def _end(self, transaction: AsyncClientSession) -> None:
        """End a session, and abort its transaction if it is open, also when cancelled.

        An error says nothing that matters: what was not committed is not kept. The place is
        free when the server knows.
        """
        if transaction not in self._open_sessions:
            return  # it was ended when the backend was closed
        self._open_sessions.remove(transaction)
        units = self._units

        async def bounded() -> None:
            try:
                with suppress(PyMongoError, TimeoutError):
                    async with asyncio.timeout(_FAREWELL):
                        await transaction.end_session()
            finally:
                units.give_back()

        await asyncio.shield(self.kept(bounded()))

    async def _to_its_end(self, write: Coroutine[Any, Any, R]) -> R:
        """Write, and let the write end before a cancellation takes effect.

        The server goes on with a request whose connection was closed: the write would happen
        later, when the caller believes that it did not.
        """
        task = self.kept(write)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            try:
                await asyncio.wait({task}, timeout=_GRACE)
            finally:
                task.cancel()
            raise

    async def _single(self, session: Session, write: Coroutine[Any, Any, R]) -> R:
        """Make a write that is atomic by itself; one in a transaction is aborted with it."""
        return await (self._to_its_end(write) if session.transaction is None else write)

    @asynccontextmanager
    async def _atomically(
        self, session: Session, collection: Collection
    ) -> AsyncGenerator[Session]:
        """Lend a session with a transaction: the unit's, or one that is committed at the end.

        Of what fails before the commit nothing is kept.
        """
        if session.transaction is not None:
            yield session
            return
        opened = await self.begin_session(UnitOptions())
        try:
            yield opened
        except BaseException as error:
            await self.rollback_session(opened)
            if isinstance(error, Exception) and not isinstance(error, HealthstoreError):
                raise self.ours(error, Phase.STEP, collection) from None
            raise
        await self.commit_session(opened)

    # --- schema ----------------------------------------------------------------------------

    async def existing(self, session: Session) -> frozenset[str]:
        """Return the names of the collections."""
        return frozenset(await session.database.driver.list_collection_names())

    async def create(self, session: Session, collection: Collection) -> None:
        """Create a collection with validator and indexes, as far as they are missing."""
        await schema.create(session.database.driver, Codec(collection.stored))
        self._codecs[collection] = Codec(collection)
        self._references.expire()

    async def alter(self, session: Session, before: Collection, after: Collection) -> None:
        """Change validator, documents and indexes; each step may be repeated."""
        await self._changed(session, before, after, schema.alter)

    async def rename(self, session: Session, before: Collection, after: Collection) -> None:
        """Rename the collection, or fields in all documents; each step may be repeated."""
        await self._changed(session, before, after, schema.rename)

    async def _changed(
        self, session: Session, before: Collection, after: Collection, change: _Change
    ) -> None:
        """Change a collection; it takes as long as it takes, so only the caller's deadline counts."""
        assert session.limit is not None
        session.limit.reschedule(None)
        await change(session.database.driver, before.stored, Codec(after.stored))
        self._codecs.pop(before, None)
        self._codecs[after] = Codec(after)
        self._references.expire()

    async def drop(self, session: Session, collection: Collection) -> None:
        """Drop the collection."""
        await schema.drop(session.database.driver, collection.name)
        self._codecs.pop(collection, None)
        self._references.expire()

    def explain(self, change: Ensure | Alter | Rename | Drop) -> Explained:
        """Return the commands; see :mod:`healthstore.adapters.mongo.explaining`."""
        return explained(change)

    async def _codec(self, session: Session, collection: Collection) -> Codec:
        """Return a collection's codec; raise ConfigurationError if it does not exist.

        MongoDB itself would create it at the first insert, without validator and indexes.
        """
        codec = self._codecs.get(collection)
        if codec is None:
            if collection.name not in await self.existing(session):
                raise ConfigurationError(
                    f"there is no collection {collection.name!r}",
                    hint="call initialize() with its entity first",
                    entity=collection.entity,
                )
            codec = self._codecs[collection] = Codec(collection)
        return codec

    # --- reading ---------------------------------------------------------------------------

    async def get(self, session: Session, op: Get) -> tuple[Document | None, ...]:
        """Read by `_id`; one that is to be locked is written first, in a field of no entity."""
        codec = await self._codec(session, op.collection)
        if op.lock:
            await lock_documents(session, op.collection.name, op.ids)
        found = await reads.by_id(session, codec, op.ids)
        documents = tuple(found.get(identity) for identity in op.ids)
        return documents if len(set(op.ids)) == len(op.ids) else deepcopy(documents)

    async def find(self, session: Session, op: Find) -> tuple[Document, ...]:
        """Read one page, in one batch if it fits in 16 MB."""
        codec = await self._codec(session, op.collection)
        return await reads.find(session, codec, op, self._milliseconds)

    async def select(self, session: Session, op: Find) -> tuple[Document, ...]:
        """Read columns, each row once if that is asked for."""
        if not op.distinct:
            return await self.find(session, op)
        codec = await self._codec(session, op.collection)
        found = await reads.distinct(session, codec, op, self._milliseconds)
        return await super().select(session, op) if found is None else found

    async def explain_find(self, session: Session, op: Find) -> QueryPlan:
        """Ask for the plan of a page; see :mod:`healthstore.adapters.mongo.plans`."""
        codec = await self._codec(session, op.collection)
        return await explain_find(session, codec, op, self._milliseconds)

    async def count(self, session: Session, op: CountDocuments) -> int:
        """Count exactly."""
        codec = await self._codec(session, op.collection)
        return await reads.count(session, codec, op, self._milliseconds)

    async def aggregate(self, session: Session, op: Aggregate) -> tuple[Group, ...]:
        """Group on the server, which sums integers and decimals exactly, and floats here."""
        codec = await self._codec(session, op.collection)
        return await reads.aggregate(session, codec, op, self._milliseconds)

    async def leading(self, session: Session, op: Leading) -> tuple[Document, ...]:
        """Read the first documents of each group."""
        codec = await self._codec(session, op.collection)
        return await reads.leading(session, codec, op, self._milliseconds)

    async def looked_up(self, session: Session, lookup: Lookup) -> list[Value]:
        """Return the distinct values that a query finds."""
        codec = await self._codec(session, lookup.collection)
        return await reads.looked_up(session, codec, lookup, self._milliseconds)

    # --- writing ---------------------------------------------------------------------------

    async def insert(self, session: Session, op: Insert) -> int:
        """Add documents; several of them, or references to check, take a transaction."""
        session.require_writable()
        checked = bool(op.checked_references and op.collection.references)
        require_transactions(
            self.capabilities,
            several=op.atomic and len(op.documents) > 1,
            references=checked,
            collection=op.collection,
        )
        codec = await self._codec(session, op.collection)
        if not op.documents:
            return 0
        if checked or (op.atomic and len(op.documents) > 1):
            async with self._atomically(session, op.collection) as opened:
                await writes.insert(opened, codec, op)
                if checked:
                    # Afterwards: documents of one batch may refer to each other.
                    await lock_parents(opened, op.collection, op.documents)
        elif len(op.documents) > writes.PART and session.transaction is None:
            ours = partial(self.ours, phase=Phase.WRITE, collection=op.collection)
            await self._to_its_end(writes.insert_in_parts(session, codec, op, ours))
        else:
            with self._others_kept(op):
                await self._single(session, writes.insert(session, codec, op))
        return len(op.documents)

    @contextmanager
    def _others_kept(self, op: Insert | Replace) -> Generator[None]:
        """Say of an error that it is of one document of several, of which others are written."""
        try:
            yield
        except (BulkWriteError, HealthstoreError) as error:
            if len(op.documents) == 1:
                raise
            if isinstance(error, BulkWriteError):
                error = self.ours(error, Phase.WRITE, op.collection)
            error.outcome = Outcome.UNKNOWN
            raise error from None

    async def replace(self, session: Session, op: Replace) -> tuple[bool, ...]:
        """Replace documents, guarded by their versions."""
        session.require_writable()
        checked = bool(op.collection.references)
        require_transactions(
            self.capabilities,
            several=op.atomic and len(op.documents) > 1,
            references=checked,
            collection=op.collection,
        )
        codec = await self._codec(session, op.collection)
        if not op.documents:
            return ()
        single = len(op.documents) == 1
        apart = single or not op.atomic
        if (op.same or not single) and apart and not (checked or session.transaction):
            with self._others_kept(op):
                return await self._to_its_end(writes.replace_guarded(session, codec, op))
        if single and not checked and not op.same:
            version = op.versions[0] if op.versions else None
            document = op.documents[0]
            replaced = writes.replace_one(session, codec, document, version)
            return (await self._single(session, replaced),)
        async with self._atomically(session, op.collection) as opened:
            return await writes.replace_several(opened, codec, op)

    async def patch(self, session: Session, op: Patch) -> tuple[Document | None, ...]:
        """Change one document natively, or several in a transaction."""
        session.require_writable()
        assigned = {name for name, _ in op.sets}
        checked = any(each.field in assigned for each in op.collection.references)
        require_transactions(
            self.capabilities, several=len(op.ids) > 1, references=checked, collection=op.collection
        )
        codec = await self._codec(session, op.collection)
        if not op.ids:
            return ()
        if len(op.ids) == 1 and not checked:
            return (await self._single(session, writes.patch_one(session, codec, op)),)
        async with self._atomically(session, op.collection) as opened:
            return await writes.patch_several(opened, codec, op)

    async def patches(self, session: Session, op: Patches) -> tuple[tuple[Document] | None, ...]:
        """Change documents in one transaction, each in its own way."""
        session.require_writable()
        require_transactions(
            self.capabilities, several=True, references=False, collection=op.collection
        )
        codec = await self._codec(session, op.collection)
        async with self._atomically(session, op.collection) as opened:
            return await writes.patch_each(opened, codec, op)

    async def delete(self, session: Session, op: Delete) -> tuple[bool, ...]:
        """Remove documents to which no other one refers."""
        session.require_writable()
        require_transactions(
            self.capabilities, several=len(op.ids) > 1, references=False, collection=op.collection
        )
        codec = await self._codec(session, op.collection)
        if not op.ids:
            return ()
        referrers = (
            await self._references.to(op.collection.name, session) if op.checked_references else ()
        )
        require_transactions(
            self.capabilities, several=False, references=bool(referrers), collection=op.collection
        )
        if len(op.ids) == 1 and not referrers:
            version = op.versions[0] if op.versions else None
            deleted = writes.delete_one(session, codec, op.ids[0], version)
            return (await self._single(session, deleted),)
        async with self._atomically(session, op.collection) as opened:
            there = await writes.versions(opened, codec, op.ids, op.versions)
            if there:
                await remove(opened, referrers, op.collection.name, list(there))
        return tuple(identity in there for identity in op.ids)

    async def patch_where(self, session: Session, op: PatchWhere) -> int:
        """Change by one command, in a transaction if there are any."""
        session.require_writable()
        assigned = {name for name, _ in op.sets}
        checked = any(each.field in assigned for each in op.collection.references)
        require_transactions(
            self.capabilities, several=op.atomic, references=checked, collection=op.collection
        )
        codec = await self._codec(session, op.collection)
        return await self._written(
            session, op.collection, lambda opened: conditional.patch_where(opened, codec, op)
        )

    async def delete_where(self, session: Session, op: DeleteWhere) -> int:
        """Remove by one command, in a transaction if there are any."""
        session.require_writable()
        codec = await self._codec(session, op.collection)
        name = op.collection.name
        referrers = await self._references.to(name, session) if op.checked_references else ()
        require_transactions(
            self.capabilities,
            several=op.atomic,
            references=bool(referrers),
            collection=op.collection,
        )
        return await self._written(
            session,
            op.collection,
            lambda opened: conditional.delete_where(opened, codec, op, referrers),
        )

    async def _written(
        self,
        session: Session,
        collection: Collection,
        write: Callable[[Session], Coroutine[Any, Any, R]],
    ) -> R:
        """Write in a transaction; where there is none, of what fails others may be kept."""
        if self.capabilities.transactions:
            async with self._atomically(session, collection) as opened:
                return await write(opened)
        try:
            return await self._to_its_end(write(session))
        except (NotNullError, OutOfRangeError):
            raise  # it was looked for before anything was written
        except (PyMongoError, HealthstoreError) as error:
            known = error if isinstance(error, HealthstoreError) else None
            failed = known or self.ours(cast(Exception, error), Phase.WRITE, collection)
            failed.outcome = Outcome.UNKNOWN
            raise failed from None
