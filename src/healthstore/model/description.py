"""A definition as a JSON object, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec

from healthstore.model.definition import Check, Definition, Field, Index, Unique
from healthstore.model.query import And, Filter, Lookup, Not, OtherField, Term, Test
from healthstore.model.values import FieldType, Json, Kind
from healthstore.model.wire import to_tagged

__all__ = (
    "checks_of",
    "definition",
    "described_field",
    "essence",
    "fingerprint",
    "form_of",
    "kind_of",
    "part_of",
)

# What stands before the kind of a field that has hidden ones, where it is written down.
_BESIDE: Sequence[tuple[str, Callable[[FieldType], bool]]] = (
    ("searchable", lambda kind: kind.searchable),
    ("searched", lambda kind: kind.words),
)


def kind_of(described: str) -> FieldType:
    """Return the type, without its limits, of which the kind is written down so."""
    for searchable in (False, True):
        for words in (False, True):
            kind = FieldType(Kind.TEXT, searchable=searchable, words=words)
            if described_field(Field("", kind))["kind"] == described:
                return kind
    return FieldType(Kind(described))


def definition(collection: Definition) -> dict[str, Json]:
    """Return a collection's definition as a JSON object; ``catalog.from_definition`` reads it."""
    return {
        "name": collection.name,
        "fields": [described_field(each) for each in collection.fields],
        "uniques": [_described_unique(each, collection) for each in collection.uniques],
        "indexes": [_described_index(each, collection) for each in collection.indexes],
        "references": [
            {"field": each.field, "collection": each.collection, "on_delete": each.on_delete}
            for each in collection.references
        ],
        "checks": [_described_check(each, collection) for each in collection.checks],
    }


def fingerprint(described: Json) -> str:
    """Return the SHA-256, in hex, of a definition as a JSON object."""
    return hashlib.sha256(_encoded(described)).hexdigest()


def _encoded(described: Json) -> bytes:
    return msgspec.json.encode(described, order="deterministic")


def essence(collection: Definition) -> dict[str, Json]:
    """Return the JSON object that equal definitions share: no defaults, each part in one order."""
    bare = replace(
        collection, fields=tuple(replace(each, default=None) for each in collection.fields)
    )
    return {
        part: sorted(items, key=_encoded) if isinstance(items, list) else items
        for part, items in definition(bare).items()
    }


def checks_of(collection: Definition) -> dict[bytes, Check]:
    """Return the checks by what tells them apart, also in the types of the values in them."""
    return {_encoded(_described_check(each, collection)): each for each in collection.checks}


def form_of(each: Field) -> bytes:
    """Return what tells whether two fields are the same in all, also in their defaults."""
    return _encoded(described_field(each))


def described_field(each: Field) -> dict[str, Json]:
    """Return one field as a JSON object."""
    described: dict[str, Json] = {"name": each.name, "kind": str(each.type.kind)}
    kept = [word for word, is_kept in _BESIDE if is_kept(each.type)]
    if kept:
        # No key of its own: a program that knows no hidden fields refuses the definition, and so
        # never writes a document without them.
        described["kind"] = " ".join((*kept, each.type.kind))
    if each.nullable:
        described["nullable"] = True
    if each.type.max_length is not None:
        described["max_length"] = each.type.max_length
    if each.type.kind is Kind.DECIMAL:
        described["digits"] = each.type.digits
        described["places"] = each.type.places
    if each.type.milliseconds:
        described["milliseconds"] = True
    if each.type.choices:
        described["choices"] = list(each.type.choices)
    if each.default is not None:
        described["default"] = to_tagged(each.type)(each.default)
    return described


def _described_unique(each: Unique, collection: Definition) -> Json:
    # No list: a program that knows no keys that ignore case refuses the definition; nor "fields"
    # where it must know of a condition.
    if each.where is not None:
        where = _rule(each.where, collection)
        return {"unique": [*each.fields], "ignore_case": each.ignore_case, "where": where}
    return (
        {"fields": list(each.fields), "ignore_case": True} if each.ignore_case else [*each.fields]
    )


def _described_index(each: Index, collection: Definition) -> Json:
    keys = [_described_key(key) for key in each.keys]
    if each.where is None and not each.terms:
        return keys
    # No list: a program that knows no part of an index, or no key of it, refuses the definition.
    described: dict[str, Json] = {"keys": keys}
    return (
        described if each.where is None else {**described, "where": _rule(each.where, collection)}
    )


def _described_key(key: str | Term) -> Json:
    if isinstance(key, Term):
        return {"field": key.field, "path": list(key.steps), "kind": str(key.kind)}
    return key


def part_of(each: Index | Unique, collection: Definition) -> bytes:
    """Return what tells of two indexes, or keys, of the same fields which documents they hold."""
    return b"" if each.where is None else _encoded(_rule(each.where, collection))


def _described_check(each: Check, collection: Definition) -> Json:
    return {"name": each.name, "rule": _rule(each.rule, collection)}


def _rule(filter_: Filter, collection: Definition) -> Json:
    if isinstance(filter_, Test):
        if isinstance(filter_.operand, OtherField):
            # No "operand": a program that knows no other fields refuses the definition.
            test = {"field": filter_.field, "test": str(filter_.operator)}
            return {**test, "other": filter_.operand.name}
        write = to_tagged(collection.field(filter_.field).type)
        operand = filter_.operand
        assert not isinstance(operand, Lookup), "a check looks nothing up"
        wired: Json
        if isinstance(operand, tuple):
            wired = [None if value is None else write(value) for value in operand]
        else:
            wired = None if operand is None else write(operand)
        return {"field": filter_.field, "test": str(filter_.operator), "operand": wired}
    if isinstance(filter_, Not):
        return {"not": _rule(filter_.item, collection)}
    key = "and" if isinstance(filter_, And) else "or"
    return {key: [_rule(item, collection) for item in filter_.items]}
