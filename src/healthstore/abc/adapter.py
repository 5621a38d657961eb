"""The base of adapters: what an author of a backend fills in.

An author writes the connection (``connect``, ``disconnect``, ``ping``), sessions (``session``,
``begin_session``, ``commit_session``, ``rollback_session``), ``translate`` for errors, and the
operations ``existing``, ``create``, ``get``, ``insert``, ``replace``, ``delete`` and ``find``.
:class:`~healthstore.abc.operations.Operations` has plain versions of the others, which a database
can do better, and refuses ``alter`` and ``drop`` until they are written; ``prober`` and ``pool``
have modest ones here. An optional ``part(session)``, an asynchronous context that undoes what failed in it (a savepoint), gives
units their parts (``Capabilities(parts=True)``), and lets tests roll back on this backend.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, TypeVar, cast

from healthstore.abc import definitions
from healthstore.abc.backend import Isolation, UnitOptions
from healthstore.abc.causes import is_defect, place_of
from healthstore.abc.farewell import farewell
from healthstore.abc.lookups import answered, looks_up
from healthstore.abc.operations import Operations
from healthstore.abc.pinging import PingProber
from healthstore.abc.prober import PoolFigures, Prober
from healthstore.abc.unit import (
    AdapterUnit,
    Phase,
    collection_of,
    deadline_exceeded,
    phase_of,
)
from healthstore.errors import (
    BackendError,
    CapabilityError,
    HealthstoreError,
    LifecycleError,
    Outcome,
)
from healthstore.model.ops import (
    Aggregate,
    Alter,
    Batch,
    Claim,
    CountDocuments,
    Delete,
    DeleteWhere,
    Drop,
    Effect,
    Ensure,
    Explain,
    Explained,
    ExplainFind,
    Find,
    Get,
    Insert,
    Leading,
    Op,
    Patch,
    Patches,
    PatchWhere,
    RefreshStatistics,
    Rename,
    Replace,
)
from healthstore.model.plans import QueryPlan
from healthstore.model.schema import Collection

__all__ = ("Adapter", "silence_values")

R = TypeVar("R")
S = TypeVar("S")

_FAREWELL = 2.0  # seconds that closing waits for what outlived its caller


class Adapter(Operations[S]):
    """A backend over one database. ``S`` is the author's session: a connection, a transaction."""

    alters_whole: bool = True
    """Whether :meth:`alter` does all or nothing: a session for a change is a transaction."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._opened = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._endings: set[asyncio.Future[Any]] = set()

    @property
    def name(self) -> str:
        """The member's name."""
        return self._name

    # --- what an author writes -------------------------------------------------------------

    @abstractmethod
    async def connect(self) -> None:
        """Open what the adapter needs, check the server, and set ``capabilities``."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Close everything that :meth:`connect` opened, also after it failed half-way."""

    @abstractmethod
    async def ping(self) -> None:
        """Make one round trip."""

    @abstractmethod
    def session(self, effect: Effect) -> AbstractAsyncContextManager[S]:
        """Lend a session for one operation, which must be atomic: commit on success."""

    @abstractmethod
    async def begin_session(self, options: UnitOptions) -> S:
        """Return a session with an open transaction."""

    @abstractmethod
    async def commit_session(self, session: S) -> None:
        """Commit the session's transaction and release the session, whatever happens."""

    @abstractmethod
    async def rollback_session(self, session: S) -> None:
        """Roll the session's transaction back and release the session, whatever happens."""

    @abstractmethod
    def translate(
        self, error: Exception, phase: Phase, collection: Collection | None
    ) -> HealthstoreError:
        """Return the error of ours for an error of the driver, classified by its code.

        ``collection`` is the one that the operation names, if it names one.
        """

    # --- how it is looked at -----------------------------------------------------------------

    def prober(self) -> Prober:
        """Return a prober that pings through this adapter; a server deserves one of its own."""
        return PingProber(self)

    def pool(self) -> PoolFigures | None:
        """Return None: there is no pool."""
        return None

    def abandon(self) -> None:
        """Let go of what :meth:`connect` opened, without awaiting: its event loop has ended.

        Here nothing is done: the garbage collector closes what nobody holds any more.
        """

    # --- the backend -----------------------------------------------------------------------

    async def open(self) -> None:
        """Connect; see :class:`~healthstore.abc.backend.Backend`."""
        self._leave_ended_loop()
        if self._opened:
            return
        self._loop = asyncio.get_running_loop()
        try:
            await self.connect()
        except BaseException as error:
            # Whoever opens closes, also when opening was cancelled half-way.
            await farewell(self.disconnect())
            if isinstance(error, HealthstoreError):
                raise error.at(backend=self.name) from error.__cause__
            if isinstance(error, Exception):
                raise self.ours(error, Phase.CONNECT, None) from None
            raise
        self._opened = True

    async def close(self) -> None:
        """Disconnect; see :class:`~healthstore.abc.backend.Backend`."""
        self._leave_ended_loop()
        if self._opened:
            self._opened = False
            await self.disconnect()
            await self.ended()

    def _leave_ended_loop(self) -> None:
        if self._opened and self._loop is not None and self._loop.is_closed():
            self._opened = False
            self._endings.clear()
            self.abandon()

    def kept(self, work: Coroutine[Any, Any, R]) -> asyncio.Future[R]:
        """Start work that outlives its caller; the loop alone would not keep it."""
        task = asyncio.ensure_future(work)
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
        return task

    async def ended(self) -> None:
        """Wait for such work, for some seconds at most."""
        if self._endings:
            await asyncio.wait(self._endings, timeout=_FAREWELL)

    async def execute(self, op: Op[R]) -> R:
        """Run one operation; see :class:`~healthstore.abc.backend.Executor`."""
        self._require_open()
        if isinstance(op, Batch):
            return cast(R, await self._run_alone(op))
        try:
            async with self.session(op.effect) as session:
                return await self.run(session, op)
        except HealthstoreError as error:
            raise self.placed(error, op) from error.__cause__
        except Exception as error:  # noqa: BLE001 - the one place where driver errors end
            # `from None`: messages of drivers quote values, and tracebacks are logged.
            raise self.ours(error, phase_of(op), collection_of(op)) from None

    async def _run_alone(self, op: Batch) -> tuple[Any, ...]:
        """Run a batch as a unit of its own."""
        unit = await self.begin()
        try:
            results = await unit.execute(op)
            await unit.commit()
        finally:
            await unit.rollback()
        return results

    async def begin(self, options: UnitOptions = UnitOptions()) -> AdapterUnit[S]:  # noqa: B008 - frozen
        """Start a unit of work; see :class:`~healthstore.abc.backend.Backend`."""
        self._require_open()
        if not self.capabilities.transactions:
            raise CapabilityError(
                "this backend has no transactions",
                hint="use single operations, or a backend that has them "
                "(MongoDB: a replica set, one node is enough)",
                backend=self.name,
            )
        if options.isolation is Isolation.SERIALIZABLE and not self.capabilities.serializable:
            raise CapabilityError(
                "this backend has no serializable units",
                hint="use Isolation.SNAPSHOT",
                backend=self.name,
            )
        try:
            async with asyncio.timeout(options.deadline):
                session = await self.begin_session(options)
        except HealthstoreError as error:
            raise error.at(backend=self.name) from error.__cause__
        except TimeoutError:
            raise deadline_exceeded(write=False).at(backend=self.name) from None
        except Exception as error:  # noqa: BLE001 - as in execute
            raise self.ours(error, Phase.CONNECT, None) from None
        return AdapterUnit(self, session, options)

    def run(self, session: S, op: Op[R]) -> Coroutine[Any, Any, R]:
        """Run one operation in a session; what it looks up is read first if it has to be."""
        if not self.capabilities.semi_joins and looks_up(op):
            return self._run_in_steps(session, op)
        handler = self._handlers[type(op)]
        # The table pairs each operation with its method; the type checker cannot see that.
        return cast("Coroutine[Any, Any, R]", handler(self, session, op))

    async def _run_in_steps(self, session: S, op: Op[R]) -> R:
        return await self.run(session, await answered(self, session, op))

    def _require_open(self) -> None:
        if not self._opened:
            raise LifecycleError(
                "the backend is not open",
                hint="use it inside `async with`, or call open() first",
                backend=self.name,
            )

    def placed(self, error: HealthstoreError, op: Op[Any]) -> HealthstoreError:
        """Return an error of ours with the place filled in."""
        collection = collection_of(op)
        return error.at(backend=self.name, entity=collection.entity if collection else None)

    def ours(
        self, error: Exception, phase: Phase, collection: Collection | None
    ) -> HealthstoreError:
        """Return the error of ours for any other error, with the place filled in."""
        if isinstance(error, TimeoutError) and phase is not Phase.CONNECT:
            return deadline_exceeded(phase.in_doubt).at(backend=self.name)
        if is_defect(error):
            translated: HealthstoreError = _defect(error, phase)
        else:
            translated = self.translate(error, phase, collection)
        if isinstance(translated, BackendError):
            translated.add_note(f"caused by {place_of(error)}")
        return translated.at(backend=self.name, entity=collection.entity if collection else None)

    async def _explain(self, session: S, op: Explain) -> Explained:
        del session
        return self.explain(op.change)

    async def _explain_find(self, session: S, op: ExplainFind) -> QueryPlan:
        find = op.find
        if not self.capabilities.semi_joins and looks_up(find):
            find = cast(Find, await answered(self, session, find))
        return await self.explain_find(session, find)

    async def _run_batch(self, session: S, op: Batch) -> tuple[Any, ...]:
        operations: tuple[Op[Any], ...] = op.operations
        return tuple([await self.run_part(session, each, Phase.STEP) for each in operations])

    async def run_part(self, session: S, op: Op[Any], phase: Phase) -> object:
        """Run one operation of a batch; its error names its own collection."""
        try:
            return await self.run(session, op)
        except HealthstoreError as error:
            raise self.placed(error, op) from error.__cause__
        except Exception as error:  # noqa: BLE001 - as in execute
            raise self.ours(error, phase, collection_of(op)) from None

    _handlers: ClassVar[dict[type, Callable[[Any, Any, Any], Coroutine[Any, Any, object]]]] = {
        Ensure: definitions.ensure,
        Alter: definitions.alter,
        Rename: definitions.rename,
        Drop: definitions.drop,
        Explain: lambda self, session, op: self._explain(session, op),
        Batch: lambda self, session, op: self._run_batch(session, op),
        Get: lambda self, session, op: self.get(session, op),
        Insert: lambda self, session, op: self.insert(session, op),
        Replace: lambda self, session, op: self.replace(session, op),
        Patch: lambda self, session, op: self.patch(session, op),
        Patches: lambda self, session, op: self.patches(session, op),
        Claim: lambda self, session, op: self.claim(session, op),
        PatchWhere: lambda self, session, op: self.patch_where(session, op),
        Delete: lambda self, session, op: self.delete(session, op),
        DeleteWhere: lambda self, session, op: self.delete_where(session, op),
        Find: lambda self, session, op: (
            self.find(session, op) if op.columns is None else self.select(session, op)
        ),
        Leading: lambda self, session, op: self.leading(session, op),
        ExplainFind: lambda self, session, op: self._explain_find(session, op),
        RefreshStatistics: lambda self, session, op: self.refresh_statistics(
            session, op.collection
        ),
        CountDocuments: lambda self, session, op: self.count(session, op),
        Aggregate: lambda self, session, op: self.aggregate(session, op),
    }


def _defect(error: Exception, phase: Phase) -> BackendError:
    """Return the error for a mistake of ours: no manual of a database knows it."""
    return BackendError(
        f"a defect of healthstore: {place_of(error)}",
        hint="report it with this text and the version of healthstore",
        outcome=Outcome.UNKNOWN if phase.in_doubt else Outcome.NOT_APPLIED,
    )


def silence_values(logger: str) -> None:
    """Keep a driver's logger from its DEBUG lines, which quote values: they may be health data."""
    found = logging.getLogger(logger)
    found.setLevel(max(found.getEffectiveLevel(), logging.INFO))
