"""Faults on purpose: errors, lost answers, delays and hangs, exactly where a test wants them.

::

    faults = Faults()
    async with DatabaseManager("memory://", layers=[faults.layer]) as db:
        faults.fail("insert", collection=User)          # refused: nothing was stored
        faults.lose("insert")                           # stored, but the answer is lost
        faults.delay("find", seconds=0.2)
        faults.hang("get", after=3)                     # the fourth one never answers
        faults.down("postgresql")                       # everything on it, checks too

A fault strikes under the retries, the deadline and the statistics, directly over the adapter,
as one of the network or of the server would.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from math import inf
from typing import Any, ClassVar, TypeVar, cast

from healthstore.abc.backend import Backend, Unit, UnitOptions
from healthstore.abc.layer import Layer, LayeredUnit
from healthstore.abc.prober import Figures, Prober, Vitals
from healthstore.entity import Entity, collection_of
from healthstore.errors import (
    Condition,
    ConfigurationError,
    HealthstoreError,
    LifecycleError,
    Outcome,
    OutcomeUnknownError,
    UnavailableError,
)
from healthstore.model.catalog import CATALOG
from healthstore.model.ops import Batch, Effect, Op, Operation

__all__ = ("Action", "Fault", "FaultLayer", "Faults")

R = TypeVar("R")

_OPERATIONS = frozenset(each.__name__.lower() for each in Operation.__args__)
_STEPS = frozenset({"open", "ping", "begin", "commit"})
_CHECK = "check"  # a prober's, of any kind
_APPLIED = frozenset({"open", "ping", "begin", _CHECK})  # steps without an effect to lose
_SHORT = {"count": "countdocuments"}  # as a repository calls it
_KNOWN = frozenset({*_OPERATIONS, *_STEPS, _CHECK})


class Action(StrEnum):
    """What a fault does."""

    FAIL = "fail"
    DELAY = "delay"
    HANG = "hang"


@dataclass(slots=True, eq=False)
class Fault:
    """One planned fault; ``struck`` counts how often it has happened."""

    action: Action
    on: frozenset[str | Effect]
    collection: str | None = None
    member: str | None = None
    after: int = 0
    times: int | None = 1
    applied: bool = False
    seconds: float = 0.0
    error: HealthstoreError | None = None
    struck: int = 0
    _passed: int = field(default=0, repr=False)

    def _meets(self, what: frozenset[str | Effect], collections: frozenset[str], at: str) -> bool:
        """Tell whether this fault strikes now; counts what it lets pass."""
        if not self.on & what or self.member not in {None, at}:
            return False
        if self.collection is not None and self.collection not in collections:
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        if self._passed < self.after:
            self._passed += 1
            return False
        self.struck += 1
        return True


class Faults:
    """The plan of faults of one test, for any number of members; see the module's docstring.

    What every method takes: names of operations (``"get"``, ``"insert"``, ``"find"``, … as in
    events), of steps (``"open"``, ``"ping"``, ``"begin"``, ``"commit"``, ``"check"``) or an
    :class:`~healthstore.model.ops.Effect`, which stands for all operations of that effect;
    ``collection``, an entity or a collection's name; ``member``, a member's name; ``after``, how
    many matching operations pass first; ``times``, how often it strikes, None for always. Every
    method returns the fault, and raises ConfigurationError for a name that is not known and for
    a fault that could never strike. A ``member`` may be named before a manager has it; if none
    has it when an operation comes, that raises ConfigurationError.
    """

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._members: set[str] = set()

    @property
    def layer(self) -> Callable[[Backend], FaultLayer]:
        """What lays this plan over an adapter: ``DatabaseManager(url, layers=[faults.layer])``."""
        return partial(FaultLayer, faults=self)

    def lies_over(self, member: str) -> None:
        """Know a member whose operations may be struck."""
        self._members.add(member)

    def fail(  # noqa: PLR0913 - each has a default
        self,
        *on: str | Effect,
        error: HealthstoreError | None = None,
        collection: type[Entity] | str | None = None,
        member: str | None = None,
        after: int = 0,
        times: int | None = 1,
        applied: bool = False,
    ) -> Fault:
        """Raise ``error`` instead of the operation, or behind it if it is to be ``applied``.

        The default is UnavailableError: a member that is not reached. The manager tries that
        again, so a service sees it only with ``times=None``.
        """
        raised = error
        if raised is None:
            raised = UnavailableError(
                "the backend was not reached", hint="a fault that a test planned"
            )
        return self._plan(
            Action.FAIL, on, collection, member, after, times, applied=applied, error=raised
        )

    def lose(
        self,
        *on: str | Effect,
        collection: type[Entity] | str | None = None,
        member: str | None = None,
        after: int = 0,
        times: int | None = 1,
    ) -> Fault:
        """Apply the operation, then raise OutcomeUnknownError: its answer is lost."""
        lost = OutcomeUnknownError(
            "the connection was lost before the answer came",
            hint="a fault that a test planned: the operation was applied",
            outcome=Outcome.UNKNOWN,
        )
        return self._plan(
            Action.FAIL, on, collection, member, after, times, applied=True, error=lost
        )

    def delay(
        self,
        *on: str | Effect,
        seconds: float,
        collection: type[Entity] | str | None = None,
        member: str | None = None,
        after: int = 0,
        times: int | None = 1,
    ) -> Fault:
        """Wait ``seconds`` before the operation."""
        return self._plan(Action.DELAY, on, collection, member, after, times, seconds=seconds)

    def hang(
        self,
        *on: str | Effect,
        collection: type[Entity] | str | None = None,
        member: str | None = None,
        after: int = 0,
        times: int | None = 1,
        applied: bool = False,
    ) -> Fault:
        """Never answer, until the caller gives up; ``applied`` as in :meth:`fail`."""
        return self._plan(Action.HANG, on, collection, member, after, times, applied=applied)

    def down(self, member: str | None = None) -> Fault:
        """Fail everything on a member, or on all, checks included, until :meth:`clear`."""
        error = UnavailableError("the backend is down", hint="a fault that a test planned")
        error.condition = Condition.DOWN
        return self._plan(Action.FAIL, tuple(_KNOWN), None, member, 0, None, error=error)

    def clear(self, *faults: Fault) -> None:
        """Strike no more: these faults, or all of them."""
        self._planned = [each for each in self._planned if faults and each not in faults]

    def _plan(  # noqa: PLR0913, PLR0917 - the one place where a fault is made
        self,
        action: Action,
        on: tuple[str | Effect, ...],
        collection: type[Entity] | str | None,
        member: str | None,
        after: int,
        times: int | None,
        *,
        applied: bool = False,
        seconds: float = 0.0,
        error: HealthstoreError | None = None,
    ) -> Fault:
        on = tuple(_SHORT.get(name, name) for name in on)
        for name in on:
            _require_known(name)
        if not on:
            raise ConfigurationError(
                "a fault needs an operation", hint='faults.fail("insert"), or Effect.WRITE'
            )
        if applied and not _APPLIED.isdisjoint(on):
            raise ConfigurationError(
                f"{', '.join(sorted(_APPLIED.intersection(on)))} cannot fail once applied",
                hint="only operations and commit can",
            )
        _require_possible(collection, member, after, times, seconds, error)
        named = collection if isinstance(collection, str | None) else collection_of(collection).name
        fault = Fault(action, frozenset(on), named, member, after, times, applied, seconds, error)
        self._planned.append(fault)
        return fault

    def require_members(self) -> None:
        """Raise ConfigurationError if a fault is for a member that no manager has."""
        for member in (each.member for each in self._planned):
            if member is not None and member not in self._members:
                known = sorted(self._members)
                close = get_close_matches(member, known, n=1)
                raise ConfigurationError(
                    f"a fault is planned for the member {member!r}, which there is not",
                    hint=f"did you mean {close[0]!r}?" if close else f"members: {', '.join(known)}",
                )

    def due(
        self, what: frozenset[str | Effect], collections: frozenset[str], at: str
    ) -> list[Fault]:
        """Return the faults that strike an operation, in the order in which they were planned."""
        return [each for each in self._planned if each._meets(what, collections, at)]


def _require_known(name: str | Effect) -> None:
    if isinstance(name, Effect) or name in _KNOWN:
        return
    close = get_close_matches(name, sorted(_KNOWN), n=1)
    raise ConfigurationError(
        f"there is no operation {name!r} that could fail",
        hint=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(_KNOWN))}",
    )


def _require_possible(  # noqa: PLR0913, PLR0917 - what describes a fault
    collection: object, member: object, after: object, times: object, seconds: object, error: object
) -> None:
    """Refuse what could never strike: a test that plans it would prove nothing."""
    entity = isinstance(collection, type) and issubclass(collection, Entity)
    rules = {
        "collection": (
            collection is None or entity or _is_name(collection),
            "an entity or the name of a collection",
        ),
        "member": (member is None or _is_name(member), "the name of a member"),
        "after": (_is_count(after, 0), "a number of operations, 0 or more"),
        "times": (times is None or _is_count(times, 1), "1 or more, or None for always"),
        "seconds": (_is_time(seconds), "a time in seconds, 0 or more"),
        "error": (
            error is None or isinstance(error, HealthstoreError),
            "an instance of a class of healthstore.errors",
        ),
    }
    for name, (holds, what) in rules.items():
        if not holds:
            raise ConfigurationError(
                f"a fault with this {name!r} could never strike", hint=f"{name} must be {what}"
            )


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < inf


async def _strike(faults: list[Fault], at: str, *, applied: bool) -> None:
    for fault in faults:
        if fault.applied is not applied:
            continue
        if fault.action is Action.DELAY:
            await asyncio.sleep(fault.seconds)
        elif fault.action is Action.HANG:
            await asyncio.Event().wait()
        elif fault.error is not None:
            # A copy: an exception collects the places where it was raised.
            raise copy(fault.error).at(backend=at) from None


_OWN = frozenset({CATALOG.name})


class FaultLayer(Layer):
    """Strikes with the faults of a plan, directly over an adapter."""

    rank: ClassVar[int] = 110
    part_of_store: ClassVar[bool] = True

    def __init__(self, inner: Backend, faults: Faults) -> None:
        super().__init__(inner)
        self._faults = faults
        faults.lies_over(inner.name)

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below, unless a fault strikes."""
        self._faults.require_members()
        named = frozenset(_collections(op))
        if named == _OWN:
            return await self.inner.execute(op)  # the library's own, which no test can count
        what: frozenset[str | Effect] = frozenset({type(op).__name__.lower(), op.effect})
        due = self._faults.due(what, named, self.name)
        return await self.struck(due, lambda: self.inner.execute(op))

    async def open(self) -> None:
        """Open the adapter, unless a fault strikes."""
        await self.struck(self.due("open"), self.inner.open)

    async def ping(self) -> None:
        """Ping the adapter, unless a fault strikes."""
        await self.struck(self.due("ping"), self.inner.ping)

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit whose steps may be struck, too."""
        unit = await self.struck(self.due("begin"), lambda: self.inner.begin(options))
        return _FaultUnit(_UnitFaultLayer(cast(Backend, unit), self._faults), unit)

    def prober(self) -> Prober:
        """Return a prober whose checks may be struck."""
        return _FaultProber(self, self.inner.prober())

    def due(self, step: str) -> list[Fault]:
        """Return the faults that strike a step."""
        if step != _CHECK:  # of which a manager would make a member that is down
            self._faults.require_members()
        return self._faults.due(frozenset({step}), frozenset(), self.name)

    async def struck(self, due: list[Fault], run: Callable[[], Awaitable[R]]) -> R:
        """Run something between the faults that come before its effect and those behind it."""
        await _strike(due, self.name, applied=False)
        try:
            result = await run()
        except BaseException:
            for fault in due:  # what waited for the effect has not happened
                fault.struck -= fault.applied
            raise
        await _strike(due, self.name, applied=True)
        return result


class _UnitFaultLayer(FaultLayer):
    """The layer over a unit, which a fault ends as an error of the database would."""

    def __init__(self, inner: Backend, faults: Faults) -> None:
        super().__init__(inner, faults)
        self._failed = False

    async def struck(self, due: list[Fault], run: Callable[[], Awaitable[R]]) -> R:
        """Refuse what follows a fault; the unit below knows nothing of it."""
        if self._failed:
            raise LifecycleError(
                "the unit has failed: only rollback works",
                hint="repeat the whole unit",
                backend=self.name,
            )
        self._failed = bool(due)
        result = await super().struck(due, run)
        self._failed = False
        return result


class _FaultUnit(LayeredUnit):
    """A unit whose operations and whose commit may be struck."""

    def __init__(self, layer: FaultLayer, unit: Unit) -> None:
        super().__init__(layer, unit)
        self._layer = layer

    async def commit(self) -> None:
        """Commit, unless a fault strikes: before it nothing is kept, behind it everything is."""
        await self._layer.struck(self._layer.due("commit"), super().commit)


class _FaultProber:
    """A prober that sees what a fault lets it see."""

    def __init__(self, layer: FaultLayer, inner: Prober) -> None:
        self._layer = layer
        self._inner = inner

    async def connect(self) -> None:
        await self._strike()
        await self._inner.connect()

    async def check(self) -> Vitals:
        await self._strike()
        return await self._inner.check()

    async def write(self) -> None:
        await self._strike()
        await self._inner.write()

    async def measure(self) -> Figures:
        await self._strike()
        return await self._inner.measure()

    async def close(self) -> None:
        await self._inner.close()

    async def _strike(self) -> None:
        await _strike(self._layer.due(_CHECK), self._layer.name, applied=False)


def _collections(op: Op[Any]) -> list[str]:
    """Return the names of the collections that an operation touches."""
    if isinstance(op, Batch):
        return [name for each in op.operations for name in _collections(each)]
    several = getattr(op, "collections", ())
    one = getattr(op, "collection", None)
    return [each.name for each in (*several, *([one] if one else ()))]
