"""Which documents stand against a change, or lose something by it, as a filter on the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from healthstore.model.change import (
    AddCheck,
    AddField,
    Change,
    ChangeField,
    DropCollection,
    DropField,
)
from healthstore.model.query import ALL, Filter, Not, Operator, Or, Test, walk
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType

__all__ = ("standing_against",)


def standing_against(change: Change, stored: Collection) -> Filter | None:
    """Return what the documents have in common that stand against a change, or lose by it.

    None stands for a question that no filter can answer, such as which texts are too long.
    """
    asked = _ASKED.get(type(change))
    return None if asked is None else asked(change, stored)


def _of_new_field(change: AddField, stored: Collection) -> Filter | None:
    del change, stored
    return ALL  # it is required, and nobody has a value for it


def _of_lost_field(change: DropField, stored: Collection) -> Filter | None:
    del stored
    return Test(change.name, Operator.NOT_NULL)


def _of_changed_field(change: ChangeField, stored: Collection) -> Filter | None:
    before, now = stored.field(change.name), change.form
    found = _beyond(before, now.type)
    if found is not None and before.nullable and not now.nullable:
        return Or((Test(change.name, Operator.IS_NULL), found))
    return found


def _beyond(before: Field, now: FieldType) -> Filter | None:
    """Return which values of a field are none of its new type; None if no filter can tell."""
    was = before.type
    limits = (was.kind, was.milliseconds, was.places)
    longest = now.max_length
    shorter = longest is not None and (was.max_length is None or longest < was.max_length)
    if limits != (now.kind, now.milliseconds, now.places) or shorter:
        return None
    parts: list[Filter] = []
    if lost := tuple(sorted(set(was.choices) - set(now.choices))):
        parts.append(Test(before.name, Operator.IN, lost))
    if now.digits < was.digits:
        bound = Decimal(10) ** (now.digits - now.places)
        parts.append(Test(before.name, Operator.GE, bound))
        parts.append(Test(before.name, Operator.LE, -bound))
    return Or(tuple(parts))


def _of_check(change: AddCheck, stored: Collection) -> Filter | None:
    tested = sorted({each.field for each in walk(change.check.rule)})
    if not all(name in stored.by_name for name in tested):
        return None  # the check is on a field that is to come
    nulls = tuple(Test(name, Operator.IS_NULL) for name in tested)
    return Not(Or((*nulls, change.check.rule)))


def _of_lost_collection(change: DropCollection, stored: Collection) -> Filter | None:
    del change, stored
    return ALL


_ASKED: Mapping[type, Callable[[Any, Collection], Filter | None]] = {
    AddCheck: _of_check,
    AddField: _of_new_field,
    ChangeField: _of_changed_field,
    DropCollection: _of_lost_collection,
    DropField: _of_lost_field,
}
