"""A plan: what makes a store's definitions into those of a program, and what that may cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from healthstore.abc.backend import Backend
from healthstore.model.change import Change, ChangeEffect, State, changes, worst
from healthstore.model.ops import CountDocuments
from healthstore.model.schema import Collection
from healthstore.transfer.filling import require_whole
from healthstore.transfer.selection import catalog

__all__ = ("Plan", "PlannedChange", "plan")


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One change of a plan, with what it may do to how many rows."""

    operation: Change
    effect: ChangeEffect
    rows: int
    """The number of documents of its collection when the plan was made."""

    @property
    def collection(self) -> str:
        """The name of the collection that it changes."""
        return self.operation.collection

    def __str__(self) -> str:
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        return f"{self.collection}: {self.operation} ({self.effect}; {rows})"


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that a store needs, in order. It is falsy if it needs none.

    As a text it has a line for each change.
    """

    store: str
    """The name of the member that was compared."""
    operations: tuple[PlannedChange, ...]

    @property
    def effect(self) -> ChangeEffect:
        """The worst effect of its changes; additive if there are none."""
        return worst(each.effect for each in self.operations)

    def __bool__(self) -> bool:
        return bool(self.operations)

    def __str__(self) -> str:
        return "\n".join(map(str, self.operations)) or f"{self.store} is as the entities say"


async def plan(backend: Backend, wanted: Iterable[Collection]) -> Plan:
    """Return what makes the definitions of a store into the wanted ones; changes nothing.

    Collections of the store that are not wanted are left alone. Raises IncompleteStoreError for
    half a copy.
    """
    await require_whole(backend)
    stored = await catalog(backend)
    planned: list[PlannedChange] = []
    counts: dict[str, int] = {}
    state: State = stored
    for change in changes(stored, wanted):
        name = change.collection
        if name not in counts:
            there = stored.get(name)
            counts[name] = await backend.execute(CountDocuments(there)) if there else 0
        planned.append(PlannedChange(change, change.effect(state), counts[name]))
        state = change.after(state)
    return Plan(backend.name, tuple(planned))
