"""Which values fit a field's new form, and what takes the place of those that do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from healthstore.errors import ConfigurationError
from healthstore.model import evaluate
from healthstore.model.change import ChangeField, FieldForm, changed
from healthstore.model.query import fields_in
from healthstore.model.schema import Collection
from healthstore.model.values import MAX_FOLDED, FieldType, Value, canonicaliser
from healthstore.schema.migration import Row

__all__ = (
    "alike",
    "fitted",
    "fitting",
    "made_searchable",
    "newly_searchable",
    "require_settable",
    "widened",
)


def alike(was: FieldType, now: FieldType) -> bool:
    """Tell whether values of one type are compared with those of another as they are."""
    return (was.kind, was.milliseconds) == (now.kind, now.milliseconds)


def fitting(was: FieldType, now: FieldType) -> Callable[[Value], bool]:
    """Return what tells whether a value of one type is, unchanged, one of another."""
    canonical = canonicaliser(now)

    def fits(value: Value) -> bool:
        try:
            return canonical(value) == value
        except (TypeError, ValueError):
            return False

    # A value of another type is converted by whoever knows what it means: a Transform.
    return fits if alike(was, now) else lambda _: False


def fitted(before: Collection, changes: Sequence[ChangeField]) -> Callable[[Row], Row]:
    """Return what gives a document the values named by changes, where its own do not fit.

    What it returns it returns again as it is.
    """
    parts = [
        (each.name, fitting(before.field(each.name).type, each.form.type), each.form.nullable, each)
        for each in changes
    ]

    def made(row: Row) -> Row:
        new: Mapping[str, Value] = {
            name: change.instead
            for name, fits, nullable, change in parts
            if not (nullable if row[name] is None else fits(row[name]))
        }
        return {**row, **new}

    return made


def widened(before: Collection, changes: Sequence[ChangeField]) -> Collection:
    """Return a definition that takes what another one does, and the values named by changes."""
    wider = [
        replace(each, form=form)
        for each in changes
        if (form := _widened(FieldForm.of(before.field(each.name)), each)) is not None
    ]
    return changed({before.name: before}, wider)[before.name] if wider else before


def newly_searchable(before: Collection, after: Collection) -> tuple[str, ...]:
    """Return the fields that are there before, and become searchable, or are searched for words."""
    return tuple(
        name
        for hidden, name in after.hidden.items()
        if name in before.by_name and hidden not in before.hidden
    )


def made_searchable(before: Collection, after: Collection, names: Sequence[str]) -> Collection:
    """Return a definition whose fields of these names are searchable, and may be null.

    So their folded texts may, which no document has yet.
    """
    made: list[ChangeField] = []
    for name in dict.fromkeys(names):
        was, now = before.field(name), after.field(name)
        longest = was.type.max_length
        if now.type.searchable and (longest is None or longest > MAX_FOLDED):
            longest = now.type.max_length
        kind = replace(
            was.type,
            max_length=longest,
            searchable=was.type.searchable or now.type.searchable,
            words=was.type.words or now.type.words,
        )
        form = FieldForm(kind, nullable=True, default=was.default)
        made.append(ChangeField(before.name, name, form))
    return changed({before.name: before}, made)[before.name] if made else before


def _widened(was: FieldForm, change: ChangeField) -> FieldForm | None:
    """Return the form that takes all that two take, if the first does not take a change's value."""
    value, now = change.instead, change.form
    if was.nullable if value is None else fitting(now.type, was.type)(value):
        return None
    lengths = (was.type.max_length, now.type.max_length)
    places = max(was.type.places, now.type.places)
    whole = max(was.type.digits - was.type.places, now.type.digits - now.type.places)
    both = replace(
        was.type,
        max_length=None if None in lengths else max(each for each in lengths if each is not None),
        digits=whole + places,
        places=places,
        choices=tuple(sorted({*was.type.choices, *now.type.choices})),
    )
    return FieldForm(both, was.nullable or now.nullable, was.default)


def require_settable(before: Collection, after: Collection, changes: Sequence[ChangeField]) -> None:
    """Raise ConfigurationError if what changes name cannot stand in several documents, or in any."""
    for change in changes:
        place = f"{change.collection}.{change.name}"
        if not alike(before.field(change.name).type, change.form.type):
            raise ConfigurationError(
                f"{place} gets another type, of which no value that is there is one",
                hint="leave otherwise= out, and convert them by a Transform into a new field",
                entity=change.collection,
            )
        value = change.instead
        for each in (before, after):
            tied = None if value is None else _tied(each, change.name)
            if tied is not None:
                raise ConfigurationError(
                    f"{place} {tied}, and documents that do not fit would get one value",
                    hint="otherwise=None, or give each its own by a Transform before it",
                    entity=change.collection,
                )
            for check in each.checks:
                alone = fields_in(check.rule) == {change.name}
                if alone and not evaluate.matches(each.rules[check.name])({change.name: value}):
                    raise ConfigurationError(
                        f"the value that {place} gets otherwise breaks the check {check.name}",
                        hint="name one that does not, or drop the check before it",
                        entity=change.collection,
                    )


def _tied(collection: Collection, name: str) -> str | None:
    """Say what a field's value has to do with other values; None if it stands for itself.

    What is tied cannot be counted before the values are there.
    """
    if any(name in key.fields for key in collection.uniques):
        return "is of a unique key"
    if any(key.where is not None and name in fields_in(key.where) for key in collection.uniques):
        return "is in the condition of a unique key"
    if any(name == each.field for each in collection.references):
        return "refers to other documents"
    for check in collection.checks:
        names = fields_in(check.rule)
        if name in names and len(names) > 1:
            return f"is compared with other fields by the check {check.name}"
    return None
