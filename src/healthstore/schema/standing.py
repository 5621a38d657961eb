"""What stands against the steps of a migration, and what is lost by them: counted before."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from healthstore.abc.backend import Backend
from healthstore.errors import MigrationError, SchemaChangeError
from healthstore.model.catalog import differences, references_led
from healthstore.model.change import (
    AddCheck,
    AddReference,
    AddUnique,
    Change,
    ChangeEffect,
    ChangeField,
    DropCollection,
    DropField,
    State,
    changes_between,
)
from healthstore.model.ops import CountDocuments
from healthstore.model.query import ALL, And, Filter, Operator, Test, fields_in
from healthstore.model.schema import Collection
from healthstore.schema.against import count_against
from healthstore.schema.steps import (
    Alteration,
    Creation,
    Narrowing,
    Removal,
    Renaming,
    Rewriting,
    Running,
    Step,
)

__all__ = (
    "require_fits",
    "require_no_loss",
    "require_none_against",
    "require_none_against_yet",
    "require_none_replaced",
)


async def require_none_against(
    guarded: Backend, step: Alteration, replaced: Container[str] = ()
) -> None:
    """Raise SchemaChangeError if documents stand against a change; what goes is no such.

    What is about ``replaced`` fields is not looked at: their values are going to be others.
    """
    state: State = {step.before.name: step.before}
    told: list[str] = []
    for change in changes_between(step.before, step.after):
        worse = change.effect(state) is not ChangeEffect.ADDITIVE
        left = isinstance(change, DropField) or any(each in replaced for each in _about(change))
        if worse and not left:
            against = await count_against(guarded, change, step.before, state)
            if against:
                told.append(f"{change}: {_documents(against)}")
        state = change.after(state)
    if told:
        raise SchemaChangeError(
            f"documents stand against changes of {step.before.name!r}: {'; '.join(told)}",
            hint="change them first, by a Transform before it; "
            "db.schema.plan() and healthstore schema diff count them",
        )


def _about(change: Change) -> Iterable[str]:
    """Return the fields whose values a change is about."""
    match change:
        case ChangeField(_, name):
            return (name,)
        case AddUnique(_, unique):
            where = unique.where
            return (*unique.fields, *(() if where is None else fields_in(where)))
        case AddReference(_, reference):
            return (reference.field,)
        case AddCheck(_, check):
            return fields_in(check.rule)
        case _:
            return ()


async def require_none_against_yet(guarded: Backend, steps: Sequence[Step]) -> None:
    """Raise as :func:`require_none_against` for each step of which the documents are there by now.

    Those of a collection that an earlier step renames or changes, or a function, are not.
    """
    touched: set[str] = set()
    for step in steps:
        match step:
            case Running():
                return
            case Rewriting(rows):
                touched.add(rows.name)
            case Renaming(before, after):
                touched |= {before.name, after.name}
            case Alteration(widens=True):
                pass  # what is there stays as it is
            case Alteration(before) if before.name not in touched:
                await require_none_against(guarded, step)
                touched.add(before.name)
            case Narrowing(before, _, after, changes) if before.name not in touched:
                meant = Alteration(before, after)
                await require_none_against(guarded, meant, {each.name for each in changes})
                touched.add(before.name)
            case _:
                pass


def require_fits(name: str, stored: Mapping[str, Collection], steps: Sequence[Step]) -> None:
    """Raise MigrationError unless a store's definitions are those from which the steps lead.

    ``name`` is the store's. What has been done in another way already is as it is afterwards.
    """
    now = dict(stored)
    for step in steps:
        match step:
            case Creation(made):
                for each in made:
                    _require_as(name, each.name, now.get(each.name, each), each)
                    now[each.name] = each
            case Removal(gone):
                _require_as(name, gone.name, now.pop(gone.name, gone), gone)
            case Alteration(before, after) | Narrowing(_, before, after):
                _require_as(name, before.name, now.get(before.name), before, after)
                now[before.name] = after
            case Renaming(before, after):
                _rename(name, now, before, after)
            case _:
                pass


def _rename(name: str, now: dict[str, Collection], before: Collection, after: Collection) -> None:
    moved = before.name != after.name
    if moved and before.name not in now and after.name in now:
        _require_as(name, after.name, now[after.name], after)
        return
    _require_as(name, before.name, now.pop(before.name, None), before, after)
    if moved and after.name in now:
        raise MigrationError(
            f"the store has a collection {after.name!r}, and {before.name!r} is to have that name",
            hint="nothing was changed; look at what it holds, and drop it or give it another name",
            backend=name,
        )
    now[after.name] = after
    for each in list(now.values()):
        led = references_led(each, before.name, after.name)
        if led is not None:
            now[each.name] = led


def _require_as(name: str, collection: str, there: Collection | None, *wanted: Collection) -> None:
    if there is not None and there in wanted:
        return
    if there is None:
        told = "is not there"
    else:
        told = f"is another one than before it: {'; '.join(differences(wanted[0], there))}"
    raise MigrationError(
        f"the store's collection {collection!r} {told}",
        hint="nothing was changed; a store that was made in another way is told which migrations "
        "it has by db.schema.stamp(), healthstore schema stamp; db.schema.plan() and "
        "healthstore schema diff compare it",
        backend=name,
    )


async def require_no_loss(
    guarded: Backend, stored: Mapping[str, Collection], steps: Sequence[Step]
) -> None:
    """Raise SchemaChangeError if documents lose something by a step; it says how many.

    They are counted as they are ``stored`` now: an earlier step may make or rename what is to go.
    Values that do not fit are not counted where a function comes before.
    """
    now = {name: _Stored.of(each) for name, each in stored.items()}
    for step in steps:
        match step:
            case Renaming(before, after):
                if (found := now.pop(before.name, None)) is not None:
                    now[after.name] = found.renamed(step)
            case Removal(gone):
                await _require_none(guarded, now.get(gone.name), DropCollection(gone.name), ALL)
            case Alteration() | Narrowing():
                await _require_kept(guarded, now.get(step.before.name), step)
            case Rewriting() | Running():
                given = {step.rows.name} if isinstance(step, Rewriting) else now.keys()
                now |= {name: replace(now[name], given=True) for name in given & now.keys()}
            case _:
                pass


async def require_none_replaced(guarded: Backend, step: Narrowing) -> None:
    """Raise SchemaChangeError if documents get another value by a step; it says how many."""
    await _require_none_replaced(guarded, _Stored.of(step.wide), step)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A collection as it is stored, and the names its fields have there by those of a step."""

    collection: Collection
    names: dict[str, str]
    given: bool = False
    """Whether a function is given its documents before."""

    @classmethod
    def of(cls, collection: Collection) -> Self:
        return cls(collection, dict(zip(collection.names, collection.names, strict=True)))

    def renamed(self, step: Renaming) -> _Stored:
        pairs = zip(step.before.names, step.after.names, strict=True)
        names = {other: self.names[one] for one, other in pairs if one in self.names}
        return replace(self, names=names)


async def _require_none_replaced(guarded: Backend, stored: _Stored, step: Narrowing) -> None:
    there = stored.collection
    for change in step.changes:
        name = stored.names.get(change.name)
        if name is None:
            continue
        meant = replace(change, collection=there.name, name=name)
        count = await count_against(guarded, meant, there, {there.name: there})
        if count:
            raise SchemaChangeError(
                f"{change.collection}: {change} would give another value to {_documents(count)}",
                hint="allow_loss=True, or --allow-loss, lets go what does not fit",
            )


async def _require_kept(
    guarded: Backend, stored: _Stored | None, step: Alteration | Narrowing
) -> None:
    meant = step.alteration if isinstance(step, Narrowing) else step
    for change in changes_between(meant.before, meant.after):
        if isinstance(change, DropField):
            await _require_none(guarded, stored, change, _held(meant, change.name))
    if isinstance(step, Narrowing) and stored is not None and not stored.given:
        await _require_none_replaced(guarded, stored, step)


async def _require_none(
    guarded: Backend,
    stored: _Stored | None,
    change: DropField | DropCollection,
    held: Filter,
) -> None:
    if stored is None:
        return
    where = _stored(held, stored)
    if where is None:
        return
    count = await guarded.execute(CountDocuments(stored.collection, where))
    if count:
        raise SchemaChangeError(
            f"{change.collection}: {change} would lose what {_documents(count)} "
            f"{'holds' if count == 1 else 'hold'}",
            hint="allow_loss=True, or --allow-loss, lets it go",
        )


def _stored(held: Filter, stored: _Stored) -> Filter | None:
    """Return a filter of one field by the name it has in the store; None if it is not there."""
    tests = held.items if isinstance(held, And) else (held,)
    named: list[Filter] = []
    for each in tests:
        assert isinstance(each, Test)
        name = stored.names.get(each.field)
        if name is None:
            return None
        named.append(Test(name, each.operator, each.operand))
    return And(tuple(named))


def _held(step: Alteration, name: str) -> Filter:
    """Return which documents hold something in a field that goes.

    Where a migration is taken back, what it has given to all of them is nothing.
    """
    held = Test(name, Operator.NOT_NULL)
    default = step.before.field(name).default
    if not step.restores or default is None or not step.before.field(name).type.ordered:
        return held
    return And((held, Test(name, Operator.NE, default)))


def _documents(count: int) -> str:
    return "1 document" if count == 1 else f"{count:,} documents"
