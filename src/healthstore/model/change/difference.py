"""From two definitions to the changes between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from healthstore.model.change.collections import CreateCollection
from healthstore.model.change.fields import AddField, ChangeField, DropField, FieldForm
from healthstore.model.change.keys import (
    AddCheck,
    AddIndex,
    AddReference,
    AddUnique,
    DropCheck,
    DropIndex,
    DropReference,
    DropUnique,
)
from healthstore.model.change.state import Change
from healthstore.model.description import checks_of, form_of
from healthstore.model.schema import Collection, parents_first, require_distinct

__all__ = ("changes", "changes_between")


def changes(stored: Mapping[str, Collection], wanted: Sequence[Collection]) -> tuple[Change, ...]:
    """Return what makes the stored definitions of these collections into the wanted ones.

    Parents come first. Collections that are not wanted are left alone. Raises
    InvalidRequestError if two of them have one name.
    """
    require_distinct(wanted)
    made: list[Change] = []
    for each in parents_first(wanted):
        there = stored.get(each.name)
        made.extend([CreateCollection(each)] if there is None else changes_between(there, each))
    return tuple(made)


def changes_between(stored: Collection, wanted: Collection) -> tuple[Change, ...]:
    """Return what makes one definition of a collection into another one, in this order.

    First goes what names fields, then fields go, change and come, then comes what names them.
    A field that is gone and one that is new are two changes: nothing is guessed to be renamed.
    """
    return (*_dropped(stored, wanted), *_fields(stored, wanted), *_added(stored, wanted))


def _dropped(stored: Collection, wanted: Collection) -> Iterator[Change]:
    name = stored.name
    # A check of a field whose type changes compares with a value of the other type, though that
    # may be equal in Python.
    kept = checks_of(wanted)
    for spelled, check in checks_of(stored).items():
        if spelled not in kept:
            yield DropCheck(name, check.name)
    for reference in stored.references:
        if reference not in wanted.references:
            yield DropReference(name, reference.field)
    for index in stored.indexes:
        if index not in wanted.indexes:
            yield DropIndex(name, index)
    for unique in stored.uniques:
        if unique not in wanted.uniques:
            yield DropUnique(name, unique)


def _fields(stored: Collection, wanted: Collection) -> Iterator[Change]:
    name = stored.name
    for each in stored.fields:
        if each.name not in wanted.by_name:
            yield DropField(name, each.name)
    for each in stored.fields:
        now = wanted.by_name.get(each.name)
        if now is not None and form_of(each) != form_of(now):
            yield ChangeField(name, each.name, FieldForm.of(now))
    for each in wanted.fields:
        if each.name not in stored.by_name:
            yield AddField(name, each.name, FieldForm.of(each))


def _added(stored: Collection, wanted: Collection) -> Iterator[Change]:
    name = stored.name
    for unique in wanted.uniques:
        if unique not in stored.uniques:
            yield AddUnique(name, unique)
    for index in wanted.indexes:
        if index not in stored.indexes:
            yield AddIndex(name, index)
    for reference in wanted.references:
        if reference not in stored.references:
            yield AddReference(name, reference)
    there = checks_of(stored)
    for spelled, check in checks_of(wanted).items():
        if spelled not in there:
            yield AddCheck(name, check)
