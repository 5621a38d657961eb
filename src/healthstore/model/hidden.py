"""Hidden fields: what a store keeps beside a field, so that it is found where case does not count.

They are a part of how a definition is stored, and of no document. An adapter makes its tables of
:attr:`healthstore.model.schema.Collection.stored`, where they are fields as others are, and
writes one whenever it writes the field that it is of.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias, cast

from healthstore.model.definition import Definition, Field, Index, Unique, hidden_name
from healthstore.model.query import Test
from healthstore.model.text import folded
from healthstore.model.values import FieldType, Kind, Value

__all__ = ("kept_parts", "on_hidden", "with_hidden")

_Parts: TypeAlias = (
    "tuple[tuple[Field, ...], tuple[Field, ...], tuple[Unique, ...], tuple[Index, ...]]"
)


def kept_parts(given: Definition) -> _Parts:
    """Return the fields of a definition as they are kept, its hidden fields, keys and indexes."""
    shown = tuple(
        replace(each, type=replace(each.type, searchable=False)) if each.type.searchable else each
        for each in given.fields
    )
    hidden = tuple(_hidden(each) for each in given.fields if each.type.searchable)
    indexes = (*given.indexes, *(Index(each.name) for each in hidden))
    return shown, hidden, tuple(_kept(each, given) for each in given.uniques), indexes


def _hidden(each: Field) -> Field:
    kind = FieldType(Kind.TEXT, max_length=each.type.longest_folded)
    default = each.default if each.default is None else folded(cast(str, each.default))
    return Field(hidden_name(each.name), kind, each.nullable, default)


def _kept(unique: Unique, given: Definition) -> Unique:
    if not unique.ignore_case:
        return unique
    searchable = set(given.hidden.values())
    return Unique(*(hidden_name(name) if name in searchable else name for name in unique.fields))


def with_hidden(
    given: Definition, pairs: tuple[tuple[str, Value], ...]
) -> tuple[tuple[str, Value], ...]:
    """Return fields and their canonical values with those of the hidden fields that are of them."""
    searchable = set(given.hidden.values())
    return (
        *pairs,
        *(
            (hidden_name(name), value if value is None else folded(cast(str, value)))
            for name, value in pairs
            if name in searchable
        ),
    )


def on_hidden(test: Test) -> Test:
    """Return a test that ignores case as a plain one of the hidden field."""
    return Test(hidden_name(test.field), test.operator, test.operand)
