"""Filters that compare with values of the entity, spelled as the store compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

from healthstore.entity.fields import Writer
from healthstore.errors import InvalidRequestError
from healthstore.model.query import (
    WHOLE,
    And,
    FieldName,
    FieldOrTerm,
    FieldPart,
    FieldTerm,
    Filter,
    Lookup,
    Not,
    Or,
    Order,
    OtherField,
    SortKey,
    Term,
    Test,
    parse_keys,
    parse_order,
    require_moderate,
)
from healthstore.model.query.tests import below
from healthstore.model.values import Kind, Value

__all__ = ("column_of", "field_name", "own_keys", "own_order", "require_own", "spelled")


def own_order(entity: type, keys: Iterable[SortKey]) -> tuple[Order, ...]:
    """Return the sort keys, at last the id: see :func:`own_keys`."""
    return _own(entity, parse_order(keys))


def own_keys(entity: type, keys: Iterable[SortKey]) -> tuple[Order, ...]:
    """Return the sort keys.

    Raises InvalidRequestError for a field that the class of another entity names.
    """
    return _own(entity, parse_keys(keys))


def _own(entity: type, orders: tuple[Order, ...]) -> tuple[Order, ...]:
    for each in orders:
        _require_owner(entity, each.field, each.owner)
    return orders


def require_own(entity: type, where: Filter) -> None:
    """Raise InvalidRequestError for a field that the class of another entity names.

    A class that the entity inherits from may name it: the field is the same.
    """
    left: list[Filter] = [where]  # no recursion: how deep it is has not been looked at
    while left:
        node = left.pop()
        if not isinstance(node, Test):
            left.extend(below(node))
            continue
        operand = node.operand
        other = (operand.name, operand.owner) if isinstance(operand, OtherField) else ("", None)
        for name, owner in ((node.field, node.owner), other):
            _require_owner(entity, name, owner)


def _require_owner(entity: type, name: str, owner: type | None) -> None:
    if owner is not None and not issubclass(entity, owner):
        raise InvalidRequestError(
            f"{owner.__name__}.{name} names a field of another entity",
            hint=f"write {entity.__name__}.{name}, or F.{name}",
            entity=entity.__name__,
        )


def field_name(entity: type, of: object) -> str:
    """Return the name of a field that a text names, ``F.name``, or an attribute of the class.

    Raises InvalidRequestError for a field that the class of another entity names, and for what
    names none.
    """
    if isinstance(of, FieldName):
        require_own(entity, of.not_null())
        return of.name
    if not isinstance(of, str):
        raise InvalidRequestError(
            f"a field is named by a text, not by a {type(of).__name__}",
            hint=f'write its name, as in "id", or {entity.__name__}.id',
            entity=entity.__name__,
        )
    return of


def column_of(entity: type, of: object) -> FieldOrTerm:
    """Return the field that is named as for :func:`field_name`, or the term that a part is.

    A part that is of no type is whatever JSON is there. Raises InvalidRequestError for the field
    of another entity, and for what names none.
    """
    if not isinstance(of, FieldPart | FieldTerm):
        return field_name(entity, of)
    require_own(entity, of.not_null())
    part = of.part or WHOLE
    return Term(of.name, part.steps, part.kind or Kind.JSON)


def spelled(texts: Mapping[str, Writer], where: Filter) -> Filter:
    """Return the filter with what a field keeps as text, an address say, written as text."""
    if not texts:
        return where
    require_moderate(where)
    return _spelled(texts, where)


def _spelled(texts: Mapping[str, Writer], node: Filter) -> Filter:
    if isinstance(node, And | Or):
        return type(node)(tuple(_spelled(texts, item) for item in node.items))
    if isinstance(node, Not):
        return Not(_spelled(texts, node.item))
    given: object = node  # the guard refuses what is no filter
    if not isinstance(given, Test) or given.field not in texts:
        return node
    write, operand = texts[given.field], given.operand
    if isinstance(operand, OtherField | Lookup):
        return node
    if isinstance(operand, tuple):
        return given.held(given.operator, tuple(_text(write, each) for each in operand))
    return given.held(given.operator, _text(write, operand))


def _text(write: Writer, operand: Value) -> Value:
    if operand is None or isinstance(operand, str):
        return operand
    try:
        return cast(Value, write(operand))
    except ValueError:
        return operand  # of another type: the guard says so
