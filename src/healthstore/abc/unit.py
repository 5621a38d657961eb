"""Units of work on an adapter's session, and how a failed call is classified by its phase."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from healthstore.abc.backend import Capabilities, UnitOptions
from healthstore.abc.parts import Parted, Parts, ends_unit, require_parts
from healthstore.errors import (
    DeadlineExceededError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    ReadOnlyError,
)
from healthstore.model.ops import Effect, Get, Op, RefreshStatistics
from healthstore.model.schema import Collection

if TYPE_CHECKING:
    from healthstore.abc.adapter import Adapter

__all__ = (
    "AdapterUnit",
    "Phase",
    "collection_of",
    "deadline_exceeded",
    "phase_of",
    "read_only_unit",
)

R = TypeVar("R")
S = TypeVar("S")
# Seconds that a rollback may take after the deadline of its unit; then it goes on by itself.
_GRACE = 0.1


class Phase(StrEnum):
    """Where an error of a driver came up: it decides what happened to the data."""

    CONNECT = "connect"
    READ = "read"
    STEP = "step"
    """Inside a transaction, before its commit is sent: whatever happened, nothing is kept."""
    WRITE = "write"
    COMMIT = "commit"

    @property
    def in_doubt(self) -> bool:
        """Whether what was sent may have been kept when no answer came."""
        return self in {Phase.WRITE, Phase.COMMIT}


class AdapterUnit(Generic[S]):
    """A unit of work on an adapter's session.

    It refuses use from two tasks at once and any use after an error, and rolls itself back
    when its deadline passes, so that a forgotten unit cannot hold a lock for ever. An error in a
    part is over when the part is undone, unless it ends the unit.
    """

    def __init__(self, adapter: Adapter[S], session: S, options: UnitOptions) -> None:
        self._adapter = adapter
        self._session = session
        self._open = True
        self._busy = False
        self._failed = False
        self._lost = False  # whatever is undone: the whole has to go
        self._parts = Parts()
        self._expired = False
        self._read_only = options.read_only
        loop = asyncio.get_running_loop()
        self._expires = loop.time() + options.deadline
        self._timer = loop.call_at(self._expires, self._expire)
        self._ending: asyncio.Future[None] | None = None

    @property
    def name(self) -> str:
        """The member on which the unit runs."""
        return self._adapter.name

    @property
    def capabilities(self) -> Capabilities:
        """Those of the member."""
        return self._adapter.capabilities

    async def execute(self, op: Op[R]) -> R:
        """Run one operation inside the unit."""
        self._require_usable()
        adapter = self._adapter
        if op.effect is Effect.ADMIN:
            asked = isinstance(op, RefreshStatistics)
            raise LifecycleError(
                "the planner's statistics are not renewed inside a unit"
                if asked
                else "the schema cannot change inside a unit",
                hint="explain() without refresh, or outside of the transaction"
                if asked
                else "call initialize() before the transaction",
                backend=self.name,
            )
        if self._read_only and (_locks(op) or op.effect is not Effect.READ):
            raise read_only_unit().at(backend=self.name)
        return await self._stepped(lambda: adapter.run(self._session, op), op)

    async def _stepped(self, step: Callable[[], Awaitable[R]], op: Op[Any] | None = None) -> R:
        """Take one step in the session; after an error the unit has failed."""
        adapter = self._adapter
        self._busy = True
        error: BaseException | None = None
        try:
            # Gives way once: then use by two tasks at a time is noticed on every backend.
            await asyncio.sleep(0)
            async with asyncio.timeout_at(self._expires):
                return await step()
        except HealthstoreError as known:
            error = known
            raise (known.at(backend=self.name) if op is None else adapter.placed(known, op)) from (
                known.__cause__
            )
        except TimeoutError:
            error = deadline_exceeded(write=False).at(backend=self.name)
            raise error from None
        except Exception as unknown:  # noqa: BLE001 - as in Adapter.execute
            error = adapter.ours(unknown, Phase.STEP, None if op is None else collection_of(op))
            raise error from None
        except BaseException as ended:
            error = ended
            raise
        finally:
            self._busy = False
            if error is not None:
                self._fail(error)
            del error  # its traceback holds this frame

    def failed(self, error: HealthstoreError) -> None:
        """Note an error that a layer found: as after one of the backend, only rollback works."""
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._failed = True
        # Where somebody was cancelled, a statement may still run.
        self._lost = self._lost or not isinstance(error, HealthstoreError) or ends_unit(error)

    @asynccontextmanager
    async def _part(self) -> AsyncGenerator[None, None]:
        self._require_usable()
        inner = cast(Parted, self._adapter).part(self._session)
        await self._stepped(inner.__aenter__)
        try:
            async with self._parts.entered():
                yield
                self._require_usable()
        except Exception as error:
            await self._undo(inner, error)
            raise
        except BaseException as error:
            self._fail(error)
            raise
        await self._stepped(lambda: inner.__aexit__(None, None, None))

    async def _undo(self, part: AbstractAsyncContextManager[None], error: Exception) -> None:
        """Undo a part whose block raised; if that fails, or cannot help, the unit has failed."""
        if not self._open or self._expired or self._lost:
            return
        if self._busy or self._parts.elsewhere:  # by another task, which should have ended first
            self._failed = self._lost = True
            return
        self._failed = False
        try:
            await self._stepped(lambda: part.__aexit__(type(error), error, error.__traceback__))
        except HealthstoreError:
            self._failed = self._lost = True

    def part(self) -> AbstractAsyncContextManager[None]:
        """Run a block as a part; see :class:`~healthstore.abc.backend.Unit`."""
        require_parts(self.capabilities, self.name)
        return self._part()

    async def commit(self) -> None:
        """Commit; an error tells whether the outcome is known."""
        self._require_usable()
        if self._parts:
            raise LifecycleError(
                "a part of the unit is open", hint="end the part first", backend=self.name
            )
        self._finish()
        try:
            async with asyncio.timeout_at(self._expires):
                await self._adapter.commit_session(self._session)
        except HealthstoreError as error:
            raise error.at(backend=self.name) from error.__cause__
        except TimeoutError:
            raise deadline_exceeded(write=True).at(backend=self.name) from None
        except Exception as error:  # noqa: BLE001 - as in Adapter.execute
            raise self._adapter.ours(error, Phase.COMMIT, None) from None

    async def rollback(self) -> None:
        """Roll back and release the session; does nothing when the unit has ended.

        When its deadline is over nobody waits long for a server that may not answer.
        """
        if self._open:
            self._finish()
            self._roll_back()
        if self._ending is None:
            return
        if asyncio.get_running_loop().time() < self._expires:
            # A cancelled caller must not leave a transaction open.
            await asyncio.shield(self._ending)
        else:
            done, _ = await asyncio.wait({self._ending}, timeout=_GRACE)
            for each in done:
                each.result()

    def _roll_back(self) -> None:
        self._ending = self._adapter.kept(self._adapter.rollback_session(self._session))

    def _finish(self) -> None:
        self._open = False
        self._timer.cancel()

    def _expire(self) -> None:
        """Roll back an abandoned unit; one that is busy ends by its own timeout."""
        self._expired = True
        if self._open and not self._busy:
            self._finish()
            self._roll_back()

    def _require_usable(self) -> None:
        if self._expired:
            raise deadline_exceeded(write=False).at(backend=self.name)
        in_part = bool(self._parts) and not self._lost
        reasons = (
            (not self._open, "the unit has ended", "begin another one"),
            (
                self._failed and in_part,
                "the part of the unit has failed: it is undone at its end",
                "catch the error outside of the part",
            ),
            (self._failed, "the unit has failed: only rollback works", "repeat the whole unit"),
            (self._busy, "the unit is in use by another task", "use one unit for each task"),
            (
                self._parts.elsewhere,
                "a part of the unit is open in another task",
                "use one unit for each task",
            ),
        )
        for holds, message, hint in reasons:
            if holds:
                raise LifecycleError(message, hint=hint, backend=self.name)


def _locks(op: Op[Any]) -> bool:
    return isinstance(op, Get) and op.lock


def phase_of(op: Op[Any]) -> Phase:
    """Return the phase in which an operation's own error comes up."""
    return Phase.READ if op.effect is Effect.READ else Phase.WRITE


def collection_of(op: Op[Any]) -> Collection | None:
    """Return the collection that an operation names, if it names one."""
    return getattr(op, "collection", None)


def deadline_exceeded(write: bool) -> DeadlineExceededError:  # noqa: FBT001 - says what it means
    """Return the error for a deadline that passed; of a write the outcome is unknown."""
    return DeadlineExceededError(
        "the deadline passed",
        hint="the backend is slow or hangs; look at its health"
        + (
            "; when this backend is well again, read the document to see whether it was written"
            if write
            else ""
        ),
        outcome=Outcome.UNKNOWN if write else Outcome.NOT_APPLIED,
    )


def read_only_unit() -> ReadOnlyError:
    """Return the error for a write in a unit that only reads: it never passes by itself."""
    error = ReadOnlyError("the unit is read-only", hint="begin one that may write")
    error.transient = False
    return error
