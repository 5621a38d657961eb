"""The seam: what a store is to the rest of healthstore.

A backend is opened, executes operations, begins units of work, and is closed. Adapters, layers
and groups of backends all have this one shape, so any of them can stand for any other.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from healthstore.abc.prober import PoolFigures, Prober
from healthstore.errors import HealthstoreError
from healthstore.model.json import MOST_BYTES
from healthstore.model.ops import Op

__all__ = ("Backend", "Capabilities", "Executor", "Isolation", "Unit", "UnitOptions")

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend promises; a layer may narrow it, never widen it.

    A request that needs an absent capability raises CapabilityError before any I/O.
    """

    durable: bool = True
    """An acknowledged write survives the end of this process and of the server."""
    transactions: bool = True
    """Units of work, and writes of several documents that are kept whole or not at all."""
    references: bool = True
    """References are enforced, also against concurrent writers."""
    serializable: bool = True
    """Units can run at ``Isolation.SERIALIZABLE``; ``SNAPSHOT`` comes with transactions."""
    alters: bool = True
    """A collection's definition can be changed where it is; see :class:`~healthstore.model.ops.Alter`."""
    semi_joins: bool = False
    """A field is looked up in what another query finds at one moment, however much that is.

    Without it the values are read first, at most ``MAX_VALUES``: outside of a unit these are two
    reads.
    """
    element_indexes: bool = False
    """An index of a list's elements serves tests of them. Declared, for nothing is refused: without
    it there is no such index, and each document is looked at."""
    term_indexes: bool = False
    """An index has parts of JSON among its keys, and serves tests of them. Declared, as above: without
    it the index has its other keys, or there is none."""
    hyphen_keys: bool = True
    """A path into JSON may have a key that begins with a hyphen."""
    deep_json: bool = True
    """A filter reads a part of any JSON; else it fails where a document's has over 31 levels."""
    stops_cancelled: bool = True
    """A write that is cancelled while it waits at the server ends there. Where it does not, it may
    still be made, whole, when what it waits for is over. Declared, for nothing can be refused."""
    parts: bool = False
    """A part of a unit can be undone by itself: see :meth:`Unit.part`."""
    locks: bool = False
    """A unit can lock a document that it reads: ``Get.lock``."""
    max_document_bytes: int = MOST_BYTES
    """Bytes of the largest document; ``healthstore.model.size`` says what counts."""
    coalesced: frozenset[type[Op[Any]]] = frozenset()
    """The operations of which several, sent as one, take little longer than one by itself."""


class Isolation(StrEnum):
    """What a unit sees of concurrent units.

    SNAPSHOT reads one state of the store throughout and loses no update: of two units that
    write the same document, the later fails with SerializationError. SERIALIZABLE, in
    addition, equals some order of the units one after the other.
    """

    SNAPSHOT = "snapshot"
    SERIALIZABLE = "serializable"


@dataclass(frozen=True, slots=True)
class UnitOptions:
    """How a unit of work runs. It is rolled back when ``deadline`` seconds have passed."""

    isolation: Isolation = Isolation.SNAPSHOT
    read_only: bool = False
    deadline: float = 30.0


class Executor(Protocol):
    """Whatever executes operations: a backend, or a unit of work on one."""

    @property
    def name(self) -> str:
        """The member's name, as configured: it appears in errors, events and health."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this executor promises."""
        ...

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        """Run one operation to its end and return its result.

        On a backend, each operation is atomic and, where ``capabilities.durable``, durable when
        this returns. Raises HealthstoreError only.
        """
        ...


class Unit(Executor, Protocol):
    """A unit of work: its operations are kept together or not at all.

    One operation at a time. After an error only :meth:`rollback` works, unless it came up in a
    part.
    """

    def part(self) -> AbstractAsyncContextManager[None]:
        """Run a block as a part: what it did is undone if it raises, and the unit lives.

        So does an error of the backend that the block itself catches: then its end raises
        LifecycleError. An error after which the whole must be repeated (ConflictError but
        StaleVersionError, a deadline, a lost connection) ends the unit, and so does a
        cancellation. Who is not in the innermost part cannot use the unit meanwhile. Raises
        CapabilityError without ``capabilities.parts``.
        """
        ...

    def failed(self, error: HealthstoreError) -> None:
        """Note an error that a layer found: as after one of the backend, only rollback works."""
        ...

    async def commit(self) -> None:
        """Keep everything. Raises OutcomeUnknownError if the answer was lost.

        Refused with LifecycleError while a part is open.
        """
        ...

    async def rollback(self) -> None:
        """Drop everything, open parts too; does nothing after commit or rollback."""
        ...


class Backend(Executor, Protocol):
    """A store."""

    async def open(self) -> None:
        """Connect and check the server's settings; does nothing when open."""
        ...

    async def close(self) -> None:
        """Release everything within a few seconds; does nothing when closed."""
        ...

    async def ping(self) -> None:
        """Make one round trip; raise HealthstoreError if the backend cannot serve requests."""
        ...

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:
        """Start a unit of work. Raises CapabilityError where there are no transactions."""
        ...

    def prober(self) -> Prober:
        """Return a new prober of this backend, not connected; works before :meth:`open`."""
        ...

    def pool(self) -> PoolFigures | None:
        """Return the figures of the connection pool, without I/O; None where there is none."""
        ...
