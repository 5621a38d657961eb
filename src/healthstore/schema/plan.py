"""A plan: what makes a store's definitions into those of a program, and what that may cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from healthstore.abc.backend import Backend
from healthstore.errors import ConfigurationError, HealthstoreError
from healthstore.layers.guard import GuardLayer
from healthstore.layers.guard.operations import check
from healthstore.model.catalog import require_makeable
from healthstore.model.change import Change, ChangeEffect, State, changes, worst
from healthstore.model.change.state import checked
from healthstore.model.definition import Definition
from healthstore.model.ops import Alter, CountDocuments, Ensure, Explain, Explained
from healthstore.model.schema import Collection, require_distinct
from healthstore.schema.against import count_against
from healthstore.transfer.filling import require_whole
from healthstore.transfer.selection import catalog

__all__ = ("Plan", "PlannedChange", "joined", "plan", "request_of")


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One change of a plan, with what it may do to how many rows."""

    operation: Change
    effect: ChangeEffect
    rows: int | None
    """The number of documents of its collection when the plan was made.

    None where nobody counted: ``evolve`` does not for a change that looks at no document.
    """
    against: int
    """How many of them stand against it, or lose something by it.

    Nulls that are forbidden, members that go, texts that are too long, numbers with too many
    digits, values of another type, documents that lack a required field, break a check, have a
    key that another one has, or refer to nothing; and values that a field loses.
    """
    statements: tuple[str, ...] = field(default=(), repr=False)
    """What the store would run for it by itself; what is made at once is so with fewer.

    The constants of defaults and checks stand in them. Empty where nothing is to be run, or the
    change makes no definition by itself: then the next one's are for both.
    """
    rewrites: bool = False
    """Whether every row is written again: the table is copied, or each document changed."""
    seconds: float | None = None
    """An upper estimate of the store's work on the rows, by itself; None if it does not say.

    It is told by the order of magnitude, from what was measured on a small machine. What others
    hold up, and reading what stands against the change, comes to it.
    """

    @property
    def span(self) -> str:
        """These seconds in words, rounded up; nothing if they are None."""
        if self.seconds is None:
            return ""
        size, unit = next((each for each in _SPANS if self.seconds >= each[0]), (1, "s"))
        return f"{max(ceil(self.seconds / size), 1):,} {unit}"

    @property
    def collection(self) -> str:
        """The name of the collection that it changes."""
        return self.operation.collection

    def __str__(self) -> str:
        if self.rows is None:
            return f"{self.collection}: {self.operation} ({self.effect})"
        rows = "1 row" if self.rows == 1 else f"{self.rows:,} rows"
        if self.effect is not ChangeEffect.ADDITIVE:
            rows = f"{self.against:,} of {rows}"
        if self.rewrites:
            rows = f"{rows}, each written again"
        if self.seconds is not None and self.seconds >= 1:
            rows = f"{rows}, up to {self.span}"
        return f"{self.collection}: {self.operation} ({self.effect}; {rows})"


_SPANS = ((3600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that a store needs, in order. It is falsy if it needs none.

    As a text it has a line for each change.
    """

    store: str
    """The name of the member that was compared; of several, their names."""
    operations: tuple[PlannedChange, ...]

    @property
    def effect(self) -> ChangeEffect:
        """The worst effect of its changes; additive if there are none."""
        return worst(each.effect for each in self.operations)

    def __bool__(self) -> bool:
        return bool(self.operations)

    def __str__(self) -> str:
        return "\n".join(map(str, self.operations)) or f"{self.store} is as the entities say"


async def plan(backend: Backend, wanted: Sequence[Collection], *, counting: bool = True) -> Plan:
    """Return what makes the definitions of a store into the wanted ones; changes nothing.

    Without ``counting``, no documents are counted for a change that looks at none of them.
    Collections of the store that are not wanted are left alone. Raises IncompleteStoreError for
    half a copy, InvalidRequestError if two of the wanted ones have one name, and ConfigurationError
    for a new one that refers to nothing, or needs a capability that the store does not have.
    """
    await require_whole(backend)
    stored = await catalog(backend)
    _require_makeable(backend, stored, wanted)
    guarded = GuardLayer(backend)
    planned: list[PlannedChange] = []
    state: State = stored
    made = dict(stored)
    counted: dict[str, int] = {}
    for change in changes(stored, wanted):
        effect, there = change.effect(state), stored.get(change.collection)
        against = 0
        if there is not None and effect is not ChangeEffect.ADDITIVE:
            against = await count_against(guarded, change, there, state)
        state = change.after(state)
        request = request_of(made, state[change.collection])
        told = await backend.execute(Explain(request)) if request is not None else _TOLD_LATER
        looks = effect is not ChangeEffect.ADDITIVE or told.seconds_per_row != 0
        if there is not None and there.name not in counted and (counting or looks):
            counted[there.name] = await guarded.execute(CountDocuments(there))
        rows = counted.get(change.collection, 0 if there is None else None)
        seconds = None if told.seconds_per_row is None else (rows or 0) * told.seconds_per_row
        planned.append(
            PlannedChange(change, effect, rows, against, told.statements, told.rewrites, seconds)
        )
    return Plan(backend.name, tuple(planned))


_TOLD_LATER = Explained(seconds_per_row=0.0)  # with the next change


def request_of(made: dict[str, Collection], wanted: Definition) -> Ensure | Alter | None:
    """Return what makes a collection into one of a definition, and note it as made.

    None if the definition is not whole: a later change is told together with this one.
    """
    try:
        after = checked(wanted)
    except HealthstoreError:
        return None
    before = made.get(after.name)
    made[after.name] = after
    return Alter(before, after, ChangeEffect.LOSES_DATA) if before else Ensure((after,))


def _require_makeable(
    backend: Backend, stored: Mapping[str, Collection], wanted: Sequence[Collection]
) -> None:
    """Raise what initialize would raise for new collections, as far as that can be known here."""
    require_distinct(wanted)
    new = tuple(each for each in wanted if each.name not in stored)
    check(Ensure(new), backend)
    there, together = frozenset(stored), {each.name for each in wanted}
    for each in new:
        try:
            require_makeable(each, None, there, together)
        except ConfigurationError as error:
            raise error.at(backend=backend.name) from None


def joined(plans: Sequence[Plan]) -> Plan:
    """Return the plans of several stores as one."""
    operations = tuple(each for one in plans for each in one.operations)
    return Plan(", ".join(each.store for each in plans), operations)
