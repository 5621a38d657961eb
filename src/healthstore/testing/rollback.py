"""One transaction for a whole test, rolled back at its end: nothing stays, nothing is cleaned up.

::

    async with rolled_back("postgresql://…/tests", User, Medication) as db:
        ...                                  # whatever is written here is gone afterwards

Inside it a service works as ever: an operation that fails leaves the others alone, and a
``db.transaction()`` is kept or dropped by itself, within the one that surrounds it all. Such
parts are savepoints, so this needs a database that has them: PostgreSQL, MySQL, MariaDB, SQLite.

What differs from a real run: there is one connection, so concurrent transactions run one after
the other and never conflict; nothing is committed, so no other manager sees it; no definition is
changed (``evolve`` is refused); and a call that is cancelled while it runs (by a deadline, say)
loses the whole transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar, cast

from healthstore.abc.backend import Backend, Capabilities, Unit, UnitOptions
from healthstore.abc.layer import Layer
from healthstore.abc.parts import Parted
from healthstore.abc.unit import AdapterUnit, Phase, collection_of, deadline_exceeded, phase_of
from healthstore.entity import Entity
from healthstore.errors import CapabilityError, HealthstoreError, LifecycleError
from healthstore.manager import DatabaseManager
from healthstore.model.ops import Effect, Ensure, Ensured, Op
from healthstore.model.schema import Collection

__all__ = ("RollbackLayer", "can_roll_back", "rolled_back")

R = TypeVar("R")


class _Parted(Parted, Protocol):
    """An adapter with the optional method ``part``, and what all adapters have."""

    async def begin_session(self, options: UnitOptions) -> object: ...
    async def rollback_session(self, session: object) -> None: ...
    async def run(self, session: object, op: Op[R]) -> R: ...
    def placed(self, error: HealthstoreError, op: Op[Any]) -> HealthstoreError: ...
    def ours(
        self, error: Exception, phase: Phase, collection: Collection | None
    ) -> HealthstoreError: ...
    def kept(self, work: Coroutine[Any, Any, R]) -> asyncio.Future[R]: ...


def can_roll_back(backend: Backend) -> bool:
    """Tell whether a test can be undone alone: by ``part``, of a store that outlives the test."""
    return callable(getattr(backend, "part", None)) and backend.capabilities.durable


@asynccontextmanager
async def rolled_back(
    url: str, *entities: type[Entity], layers: Sequence[Callable[[Backend], Layer]] = ()
) -> AsyncGenerator[DatabaseManager, None]:
    """Lend an opened manager on which everything is rolled back when the block ends.

    The collections of ``entities`` are made if they are missing, and stay. Raises
    CapabilityError for a backend without savepoints.
    """
    async with DatabaseManager(url, layers=[*layers, RollbackLayer]) as db:
        if entities:
            await db.initialize(*entities)
        yield db


class _UndoneError(Exception):
    """Ends a part that is to be undone."""


@dataclass(eq=False)
class _Part:
    """A unit of the test: a part of the one transaction."""

    context: AbstractAsyncContextManager[None]

    async def end(self, error: Exception | None) -> None:
        """Keep what was done in the part or, with an error, undo it."""
        try:
            await self.context.__aexit__(None if error is None else type(error), error, None)
        except _UndoneError:
            return


# The parts in which the running code is, also in the tasks that it starts.
_WITHIN: ContextVar[tuple[_Part, ...]] = ContextVar("healthstore_parts", default=())


class RollbackLayer(Layer):
    """Runs everything in one transaction, which begins when it is needed and is never committed.

    It is rolled back when the layer closes. Lies directly over an adapter.
    """

    rank: ClassVar[int] = 111
    part_of_store: ClassVar[bool] = True

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        if not can_roll_back(inner):
            raise CapabilityError(
                "this backend cannot undo a part of a transaction",
                hint="give the tests a database of their own: the fixture healthstore_manager does",
                backend=inner.name,
            )
        self._adapter = cast(_Parted, inner)
        self._open = False
        self._session: object | None = None
        self._lost = False
        self._wrote = False
        self._there: set[Collection] = set()
        self._parts: list[_Part] = []
        self._turn = asyncio.Condition()  # to use the session; told when a unit has ended

    @property
    def capabilities(self) -> Capabilities:
        """What the adapter promises, but durability, and alterations, which MySQL would commit."""
        return replace(super().capabilities, alters=False, durable=False)

    async def open(self) -> None:
        """Open the adapter."""
        await self.inner.open()
        self._open = True

    async def close(self) -> None:
        """Roll everything back, and close the adapter."""
        try:
            await self._roll_back()
        finally:
            self._open = False
            self._lost = False
            await self.inner.close()

    async def execute(self, op: Op[R]) -> R:
        """Run one operation as a part of the transaction; if it fails, only that part is undone."""
        if not self._open:
            return await self.inner.execute(op)  # which says that it is not open
        if isinstance(op, Ensure):
            return cast(R, await self._ensure(op))
        async with self._my_turn():
            session = await self._begun(op.effect)
            try:
                async with self._watched(), self._adapter.part(session):
                    return await self._adapter.run(session, op)
            except HealthstoreError as error:
                raise self._adapter.placed(error, op) from error.__cause__
            except Exception as error:  # noqa: BLE001 - as in Adapter.execute
                raise self._adapter.ours(error, phase_of(op), collection_of(op)) from None

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit: a part that can be kept or undone by itself.

        Another task's unit must end first; one that surrounds the caller goes on around it.
        """
        if not self._open:
            return await self.inner.begin(options)
        try:
            async with asyncio.timeout(options.deadline), self._my_turn():
                session = await self._begun(Effect.READ if options.read_only else Effect.WRITE)
                part = _Part(self._adapter.part(session))
                async with self._watched():
                    await part.context.__aenter__()
                self._parts.append(part)
        except TimeoutError:
            raise deadline_exceeded(write=False).at(backend=self.name) from None
        _WITHIN.set((*(each for each in _WITHIN.get() if each in self._parts), part))
        # What a unit asks of an adapter is here: a unit is a part, not a session.
        return AdapterUnit(cast(Any, _Units(self)), part, options)

    async def _run(self, part: _Part, op: Op[R]) -> R:
        """Run one operation of a unit."""
        self._require(part)
        async with self._turn, self._watched():
            return await self._adapter.run(await self._begun(op.effect), op)

    async def _end(self, part: _Part, error: Exception | None) -> None:
        """End a unit: keep it within the transaction or, with an error, undo it."""
        if part not in self._parts and error is not None:
            return  # undone with the one around it
        self._require(part)
        async with self._turn:
            inner = self._parts[self._parts.index(part) + 1 :]
            if inner and error is None:
                raise LifecycleError(
                    "a unit inside of this one is still open",
                    hint="in a test's transaction the inner unit ends first",
                    backend=self.name,
                )
            try:
                for each in (*reversed(inner), part):
                    self._parts.remove(each)
                    async with self._watched():
                        await each.end(error)
            finally:
                self._turn.notify_all()

    @asynccontextmanager
    async def _part_of(self, unit: _Part) -> AsyncGenerator[None, None]:
        """Run a block as a part of a unit; units inside that it left open go with it."""
        self._require_innermost(unit)
        async with self._turn, self._watched():
            context = self._adapter.part(await self._begun(Effect.READ))
            await context.__aenter__()
        try:
            yield
            self._require_innermost(unit)
        except Exception as error:
            self._require(unit)
            async with self._turn, self._watched():
                for each in reversed(self._parts[self._parts.index(unit) + 1 :]):
                    self._parts.remove(each)
                    await each.end(_UndoneError())
                await context.__aexit__(type(error), error, error.__traceback__)
            raise
        async with self._turn, self._watched():
            await context.__aexit__(None, None, None)

    def _require_innermost(self, unit: _Part) -> None:
        self._require(unit)
        if self._parts[-1] is not unit:
            raise LifecycleError(
                "a unit inside of this one is still open",
                hint="in a test's transaction the inner unit ends first",
                backend=self.name,
            )

    def _require(self, part: _Part) -> None:
        if part not in self._parts:
            raise LifecycleError(
                "the unit around this one has ended",
                hint="end inner transactions first",
                backend=self.name,
            )

    @asynccontextmanager
    async def _my_turn(self) -> AsyncGenerator[None, None]:
        """Wait until no other task's unit is open, then exclude every other operation."""
        async with self._turn:
            await self._turn.wait_for(lambda: not self._parts or self._parts[-1] in _WITHIN.get())
            yield

    @asynccontextmanager
    async def _watched(self) -> AsyncGenerator[None, None]:
        """Give the transaction up if a call is cancelled: what it did is not known."""
        try:
            yield
        except Exception:
            raise
        except BaseException:
            self._lost = True
            raise

    async def _begun(self, effect: Effect) -> object:
        """Return the session of the transaction; begin it if there is none."""
        if self._lost:
            raise LifecycleError(
                "the test's transaction is lost: a call was cancelled while it ran",
                hint="test deadlines and cancellation on a database of their own",
                backend=self.name,
            )
        if self._session is None:
            try:
                self._session = await self._adapter.begin_session(UnitOptions())
            except HealthstoreError as error:
                raise error.at(backend=self.name) from error.__cause__
            except Exception as error:  # noqa: BLE001 - as in Adapter.begin
                raise self._adapter.ours(error, Phase.CONNECT, None) from None
        self._wrote = self._wrote or effect is not Effect.READ
        return self._session

    async def _ensure(self, op: Ensure) -> Ensured:
        """Make collections outside of the transaction: they stay, and MySQL would commit it."""
        names = tuple(each.name for each in op.collections)
        if self._there.issuperset(op.collections) and self._there:
            return Ensured((), names)
        if self._wrote:
            raise LifecycleError(
                "collections are made before the first write of a test",
                hint="initialize all entities at once, at its beginning",
                backend=self.name,
            )
        await self._roll_back()  # a snapshot would not see what is made now
        ensured = await self.inner.execute(op)
        self._there.update(op.collections)
        return ensured

    async def _roll_back(self) -> None:
        async with self._turn:
            session, self._session = self._session, None
            self._wrote = False
            self._parts.clear()
            self._turn.notify_all()
            if session is not None:
                await self._adapter.rollback_session(session)


class _Units:
    """What :class:`~healthstore.abc.unit.AdapterUnit` asks of an adapter, for parts."""

    def __init__(self, layer: RollbackLayer) -> None:
        self._layer = layer
        self.placed = layer._adapter.placed
        self.ours = layer._adapter.ours
        self.kept = layer._adapter.kept
        self.run = layer._run
        self.part = layer._part_of

    @property
    def name(self) -> str:
        return self._layer.name

    @property
    def capabilities(self) -> Capabilities:
        return self._layer.capabilities

    async def commit_session(self, part: _Part) -> None:
        await self._layer._end(part, None)

    async def rollback_session(self, part: _Part) -> None:
        await self._layer._end(part, _UndoneError())
