"""The steps in which a store takes a migration, up or down.

A step knows both definitions, so that it can be taken back: what a migration adds goes when it is
taken back, and what a function made of rows another function unmakes.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import CodeType
from typing import TypeAlias

from healthstore.errors import ConfigurationError
from healthstore.model.change import (
    AddField,
    Change,
    ChangeEffect,
    ChangeField,
    CreateCollection,
    DropCollection,
    DropField,
    FieldForm,
    RenameCollection,
    RenameField,
    State,
    changed,
)
from healthstore.model.definition import Field
from healthstore.model.query import fields_in
from healthstore.model.schema import Collection, parents_first
from healthstore.schema.fitting import (
    fitted,
    made_searchable,
    newly_searchable,
    require_settable,
    widened,
)
from healthstore.schema.migration import Migration, Row, Run, Transform
from healthstore.schema.running import Documents

__all__ = (
    "Alteration",
    "Creation",
    "Narrowing",
    "Removal",
    "Renaming",
    "Rewriting",
    "Running",
    "Step",
    "is_marked",
    "mark_of",
    "steps_of",
    "taken_back",
)

_Alone: TypeAlias = "Transform | Run | RenameField | RenameCollection"


@dataclass(frozen=True, slots=True)
class Creation:
    """Make collections that are not there."""

    made: tuple[Collection, ...]


@dataclass(frozen=True, slots=True)
class Removal:
    """Drop a collection."""

    gone: Collection


@dataclass(frozen=True, slots=True)
class Alteration:
    """Make a collection of one definition into one of another.

    ``restores`` says that it takes back what was added, so what it drops is lost only where rows
    hold something else than what they were given. ``widens`` says that it makes room for what a
    narrowing after it is to set, and is taken back with that.
    """

    before: Collection
    after: Collection
    restores: bool = False
    widens: bool = False


@dataclass(frozen=True, slots=True)
class Renaming:
    """Give a collection, or a field of it, another name."""

    before: Collection
    after: Collection

    @property
    def back(self) -> Renaming:
        """What takes it back."""
        return Renaming(self.after, self.before)

    def on(self, given: Collection) -> Collection:
        """Return another definition of the collection before with the new names."""
        state: dict[str, Collection] = {given.name: given}
        for one, other in zip(self.before.names, self.after.names, strict=True):
            if one != other:
                state = changed(state, [RenameField(given.name, one, other)])
        if self.before.name != self.after.name:
            state = changed(state, [RenameCollection(given.name, self.after.name)])
        return state[self.after.name]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Give each document to a function."""

    rows: Collection
    function: Callable[[Row], Row | None] | None
    back: Callable[[Row], Row | None] | None
    idempotent: bool
    every: bool = False
    """Whether a document is written that the function leaves as it is: with what is hidden of it."""

    def taken_back(self, now: Mapping[str, Collection]) -> Rewriting:
        """Return what takes it back, where some collections are as they are now."""
        rows = now.get(self.rows.name, self.rows)
        return Rewriting(rows, self.back, self.function, self.idempotent)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """Make a collection into one of another definition, after what does not fit was replaced.

    ``wide`` is how it is by then: it takes what is there ``before``, and what takes the place of
    that, as ``changes`` say. A field that becomes searchable may be null by then, and so may its
    folded text, which each document gets when it is written.
    """

    before: Collection
    wide: Collection
    after: Collection
    changes: tuple[ChangeField, ...]

    @property
    def rewriting(self) -> Rewriting:
        """What replaces values that do not fit; nothing brings them back."""
        return self._rewriting(self.changes)

    @property
    def searched(self) -> Rewriting | None:
        """What writes each document as it is, where a field becomes searchable."""
        return self._rewriting(()) if self._searches else None

    @property
    def _searches(self) -> bool:
        return bool(newly_searchable(self.before, self.wide))

    def _rewriting(self, changes: tuple[ChangeField, ...]) -> Rewriting:
        function = fitted(self.before, changes)
        return Rewriting(self.wide, function, None, idempotent=True, every=self._searches)

    @property
    def alteration(self) -> Alteration:
        """What follows that."""
        return Alteration(self.wide, self.after)


@dataclass(frozen=True, slots=True)
class Running:
    """Call a function with the documents of a state."""

    state: Mapping[str, Collection]
    function: Callable[[Documents], Awaitable[object]] | None
    back: Callable[[Documents], Awaitable[object]] | None
    idempotent: bool

    def taken_back(self, now: Mapping[str, Collection]) -> Running:
        """Return what takes it back, where some collections are as they are now."""
        return Running({**self.state, **now}, self.back, self.function, self.idempotent)


Step: TypeAlias = Creation | Removal | Alteration | Narrowing | Renaming | Rewriting | Running


def steps_of(
    state: Mapping[str, Collection], migration: Migration
) -> tuple[list[Step], dict[str, Collection]]:
    """Return the steps of a migration of a state, and the state after them.

    Operations between two functions are one step for each collection: only together do they have
    to make sense. Raises ConfigurationError for an operation that does not fit the state.
    """
    now = dict(state)
    steps: list[Step] = []
    for part in _parts(migration.operations):
        if isinstance(part, Transform):
            rows = now.get(part.collection)
            if rows is None:
                raise ConfigurationError(
                    f"there is no collection {part.collection!r} to transform",
                    hint=f"known: {', '.join(sorted(now)) or 'none'}",
                )
            steps.append(Rewriting(rows, part.up, part.down, part.idempotent))
        elif isinstance(part, Run):
            steps.append(Running(now, part.up, part.down, part.idempotent))
        elif isinstance(part, RenameField | RenameCollection):
            after = changed(now, [part])
            to = part.to if isinstance(part, RenameCollection) else part.collection
            steps.append(Renaming(now[part.collection], after[to]))
            now = after
        else:
            after = changed(now, part)
            steps += _between(now, after, part)
            now = after
    _require_parents(now)
    return steps, now


def _require_parents(state: Mapping[str, Collection]) -> None:
    """Raise ConfigurationError if a collection refers to one that no migration has made."""
    for each in state.values():
        for reference in each.references:
            if reference.collection not in state:
                raise ConfigurationError(
                    f"{each.name}.{reference.field} refers to {reference.collection!r}, "
                    "which is not there",
                    hint="let a migration create it, too: revise with its entity as well",
                )


def _parts(operations: Sequence[Change | Transform | Run]) -> list[list[Change] | _Alone]:
    """Return the operations in parts: functions and renames, and what is done at once between.

    What was dropped and comes again begins another part: it is to be empty. So does what replaces
    values that do not fit, as a function would, unless nothing but its like is before it.
    """
    parts: list[list[Change] | _Alone] = []
    run: list[Change] = []
    dropped: set[tuple[str, str]] = set()
    narrowed: set[tuple[str, str]] = set()
    for each in operations:
        narrows = isinstance(each, ChangeField) and each.replaces
        if (
            isinstance(each, _ALONE)
            or (narrows and len(narrowed) < len(run))
            or _place(each, AddField, CreateCollection) in dropped
            or _place(each, ChangeField, DropField) in narrowed
        ):
            if run:
                parts.append(run)
            run, dropped, narrowed = [], set(), set()
        if isinstance(each, Transform | Run | RenameField | RenameCollection):
            parts.append(each)
            continue
        run.append(each)
        place = _place(each, DropField, DropCollection)
        if place is not None:
            dropped.add(place)
        if isinstance(each, ChangeField) and narrows:
            narrowed.add((each.collection, each.name))
    return [*parts, run] if run else parts


_ALONE = (Transform, Run, RenameField, RenameCollection)


def _place(change: Change | Transform | Run, *kinds: type) -> tuple[str, str] | None:
    if isinstance(change, Run) or not isinstance(change, kinds):
        return None
    return change.collection, getattr(change, "name", "")


def _between(
    before: Mapping[str, Collection], after: Mapping[str, Collection], part: Sequence[Change]
) -> list[Step]:
    made = [each for name, each in after.items() if name not in before]
    steps: list[Step] = [Creation(parents_first(made))] if made else []
    for name, each in before.items():
        now = after.get(name)
        if now is not None and now is not each:
            steps += _altered(each, now, part)
    gone = [each for name, each in before.items() if name not in after]
    return [*steps, *map(Removal, reversed(parents_first(gone)))]


def _altered(before: Collection, after: Collection, part: Sequence[Change]) -> list[Step]:
    state: State = {before.name: before}
    changes = tuple(
        each
        for each in part
        if isinstance(each, ChangeField)
        and each.collection == before.name
        and each.replaces
        and each.effect(state) is not ChangeEffect.ADDITIVE
    )
    searchable = newly_searchable(before, after)
    if not (changes or searchable):
        return [Alteration(before, after)]
    require_settable(before, after, changes)
    wide = made_searchable(widened(before, changes), after, searchable)
    narrowing = Narrowing(before, wide, after, changes)
    return [narrowing] if wide == before else [Alteration(before, wide, widens=True), narrowing]


def taken_back(steps: Sequence[Step]) -> list[Step]:
    """Return the steps that take others back. A function without its opposite has none.

    What a function gives to a field that was dropped is there only after it has run: until then
    the field may be null, and no key or check is on it.
    """
    back: list[Step] = []
    waiting: dict[str, Alteration] = {}  # what is to be required when functions have run
    steps = [each for each in steps if not _is_widening(each)]
    for place, each in enumerate(reversed(steps), 1):
        match each:
            case Creation(made):
                for one in reversed(made):
                    back += _ended(waiting, one.name)
                    back.append(Removal(one))
            case Removal(gone):
                back.append(Creation((gone,)))
            case Alteration(before, after) | Narrowing(before, _, after):
                back += _ended(waiting, before.name)
                filled = _is_rewritten(steps[: len(steps) - place], before.name)
                meant = _relaxed(after, before) if filled else before
                back.append(Alteration(after, meant, restores=True))
                if meant != before:
                    waiting[before.name] = Alteration(meant, before, restores=True)
            case Renaming():
                back.append(_renamed_back(waiting, each))
            case Rewriting() | Running():
                relaxed = {name: one.before for name, one in waiting.items()}
                back.append(each.taken_back(relaxed))
    for name in list(waiting):
        back += _ended(waiting, name)
    return back


def _is_widening(step: Step) -> bool:
    return isinstance(step, Alteration) and step.widens


def _renamed_back(waiting: dict[str, Alteration], step: Renaming) -> Renaming:
    """Return what takes names back, also those of what is to be required later."""
    taken = step.back
    late = waiting.pop(taken.before.name, None)
    if late is None:
        return taken
    meant = taken.on(late.before)
    waiting[meant.name] = Alteration(meant, taken.on(late.after), restores=True)
    return Renaming(late.before, meant)


def _is_rewritten(steps: Sequence[Step], name: str) -> bool:
    """Tell whether one of some steps gives a collection's documents to a function."""
    for each in reversed(steps):
        if isinstance(each, Renaming) and each.after.name == name:
            name = each.before.name
        elif isinstance(each, Running) or (isinstance(each, Rewriting) and each.rows.name == name):
            return True
    return False


def _ended(waiting: dict[str, Alteration], name: str) -> list[Step]:
    found = waiting.pop(name, None)
    return [] if found is None else [found]


def _relaxed(there: Collection, wanted: Collection) -> Collection:
    """Return the part of a wanted definition that no document of another stands against."""
    fields = tuple(_relaxed_field(there, each) for each in wanted.fields)
    same = {each.name for each in fields if there.by_name.get(each.name) == each}
    return Collection(
        wanted.name,
        fields,
        tuple(
            each
            for each in wanted.uniques
            if each in there.uniques and (each.where is None or fields_in(each.where) <= same)
        ),
        wanted.indexes,
        tuple(each for each in wanted.references if each in there.references),
        tuple(
            each for each in wanted.checks if each in there.checks and fields_in(each.rule) <= same
        ),
        entity=wanted.entity,
    )


def _relaxed_field(there: Collection, wanted: Field) -> Field:
    was = there.by_name.get(wanted.name)
    if was is None:
        given = wanted.nullable or wanted.default is not None
        return wanted if given else replace(wanted, nullable=True)
    change = ChangeField(there.name, wanted.name, FieldForm.of(wanted))
    return wanted if change.effect({there.name: there}) is ChangeEffect.ADDITIVE else was


def mark_of(steps: Sequence[Step]) -> str:
    """Return what tells steps from others: their definitions, and the code of their functions.

    Another version of Python has other code, which its mark says.
    """
    spelled = "\n".join(map(_spelled, steps))
    return f"{_PYTHON}:{hashlib.sha256(spelled.encode()).hexdigest()}"


def is_marked(steps: Sequence[Step], mark: str) -> bool:
    """Tell whether these may be the steps of a mark: another Python's cannot be told from others."""
    return mark == mark_of(steps) or mark.partition(":")[0] != _PYTHON


_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def _spelled(step: Step) -> str:
    match step:
        case Creation(made):
            return " ".join(["create", *(each.fingerprint for each in made)])
        case Removal(gone):
            return f"drop {gone.fingerprint}"
        case Alteration(before, after) | Renaming(before, after):
            return f"{type(step).__name__} {before.fingerprint} {after.fingerprint}"
        case Narrowing(_, wide, after, changes):
            named = [(each.name, each.instead) for each in changes]
            return f"narrow {wide.fingerprint} {after.fingerprint} {named}"
        case Rewriting(rows, function):
            return f"rewrite {rows.fingerprint} {_code(getattr(function, '__code__', None))}"
        case Running(_, function):
            return f"run {_code(getattr(function, '__code__', None))}"


def _code(code: object) -> str:
    """Return what a function does, wherever it stands in its file."""
    if isinstance(code, frozenset):
        return f"{{{', '.join(sorted(map(_code, code)))}}}"  # in one order, in every process
    if isinstance(code, tuple):
        return f"({', '.join(map(_code, code))})"
    if not isinstance(code, CodeType):
        return repr(code)
    constants = ", ".join(map(_code, code.co_consts))
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} ({constants})"
