"""A definition as a JSON object, and its fingerprint."""

from __future__ import annotations

import hashlib

import msgspec

from healthstore.model.definition import Definition, Field
from healthstore.model.query import And, Filter, Not, Test
from healthstore.model.values import Json, Kind
from healthstore.model.wire import to_tagged

__all__ = ("definition", "described_field", "fingerprint", "in_one_order")


def definition(collection: Definition) -> dict[str, Json]:
    """Return a collection's definition as a JSON object; ``catalog.from_definition`` reads it."""
    return {
        "name": collection.name,
        "fields": [described_field(each) for each in collection.fields],
        "uniques": [list(unique.fields) for unique in collection.uniques],
        "indexes": [list(index.keys) for index in collection.indexes],
        "references": [
            {"field": each.field, "collection": each.collection, "on_delete": each.on_delete}
            for each in collection.references
        ],
        "checks": [
            {"name": each.name, "rule": _rule(each.rule, collection)} for each in collection.checks
        ],
    }


def fingerprint(described: Json) -> str:
    """Return the SHA-256, in hex, of a definition as a JSON object."""
    return hashlib.sha256(_encoded(described)).hexdigest()


def _encoded(described: Json) -> bytes:
    return msgspec.json.encode(described, order="deterministic")


def in_one_order(described: dict[str, Json]) -> dict[str, Json]:
    """Return the definition with the items of each part in an order that depends on them only."""
    return {
        part: sorted(items, key=_encoded) if isinstance(items, list) else items
        for part, items in described.items()
    }


def described_field(each: Field) -> dict[str, Json]:
    """Return one field as a JSON object."""
    described: dict[str, Json] = {"name": each.name, "kind": str(each.type.kind)}
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
    return described


def _rule(filter_: Filter, collection: Definition) -> Json:
    if isinstance(filter_, Test):
        write = to_tagged(collection.field(filter_.field).type)
        operand = filter_.operand
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
