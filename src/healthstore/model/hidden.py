"""Hidden fields: what a store keeps beside a field, so that it is found where case does not count.

That is the folded text, or its words as a list. They are a part of how a definition is stored, and
of no document. An adapter makes its tables of
:attr:`healthstore.model.schema.Collection.stored`, where they are fields as others are, and
writes one whenever it writes the field that it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias, cast

from healthstore.model.definition import (
    Definition,
    Field,
    Index,
    Unique,
    hidden_name,
    holds_words,
    words_name,
)
from healthstore.model.query import WHOLE, WORDS, Test
from healthstore.model.text import folded, words_in
from healthstore.model.values import FieldType, Json, Kind, Value

__all__ = ("hidden_maker", "kept_parts", "on_hidden", "with_hidden")

_Parts: TypeAlias = (
    "tuple[tuple[Field, ...], tuple[Field, ...], tuple[Unique, ...], tuple[Index, ...]]"
)


def kept_parts(given: Definition) -> _Parts:
    """Return the fields of a definition as they are kept, its hidden fields, keys and indexes.

    Each hidden field has an index; one of words is made where a store has an index of a list.
    """
    shown = tuple(
        replace(each, type=replace(each.type, searchable=False, words=False))
        if each.type.searchable or each.type.words
        else each
        for each in given.fields
    )
    hidden = tuple(_hidden(each, given) for each in given.hidden)
    indexes = (*given.indexes, *(Index(each.name) for each in hidden))
    return shown, hidden, tuple(_kept(each, given) for each in given.uniques), indexes


def _hidden(name: str, given: Definition) -> Field:
    source = given.field(given.hidden[name])
    if name == words_name(source.name):
        kind = FieldType(Kind.JSON)
    else:
        kind = FieldType(Kind.TEXT, max_length=source.type.longest_folded)
    default = None if source.default is None else hidden_maker(name)(source.default)
    return Field(name, kind, source.nullable, default)


def hidden_maker(name: str) -> Callable[[Value], Value]:
    """Return what makes of a field's text, which is not None, what its hidden field holds."""
    if holds_words(name):
        return lambda value: cast("Json", words_in(cast(str, value)))
    return lambda value: folded(cast(str, value))


def _kept(unique: Unique, given: Definition) -> Unique:
    if not unique.ignore_case:
        return unique
    searchable = {each.name for each in given.fields if each.type.searchable}
    names = (hidden_name(name) if name in searchable else name for name in unique.fields)
    return Unique(*names, where=unique.where)


def with_hidden(
    given: Definition, pairs: tuple[tuple[str, Value], ...]
) -> tuple[tuple[str, Value], ...]:
    """Return fields and their canonical values with those of the hidden fields that are of them."""
    return (*pairs, *_hidden_pairs(given, dict(pairs)))


def _hidden_pairs(given: Definition, values: dict[str, Value]) -> Iterator[tuple[str, Value]]:
    for name, source in given.hidden.items():
        if source in values:
            value = values[source]
            yield name, None if value is None else hidden_maker(name)(value)


def on_hidden(test: Test) -> Test:
    """Return a test that ignores case, or is of words, as one of the hidden field."""
    if test.part == WORDS:
        return Test(words_name(test.field), test.operator, test.operand, None, WHOLE)
    if test.folded:
        return Test(hidden_name(test.field), test.operator, test.operand)
    return test
