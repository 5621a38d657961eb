"""The catalog: definitions as data, and the collection in which each store keeps its own.

Every store remembers the definitions from which its collections were made, in
``healthstore_catalog``. So a store can be checked against the entities of a program, moved or
backed up without them, and described to a person.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast
from uuid import UUID, uuid5

from healthstore.errors import ConfigurationError
from healthstore.model.query import And, Filter, Not, Operator, Or, Test
from healthstore.model.schema import Check, Collection, Field, Index, OnDelete, Reference, Unique
from healthstore.model.values import (
    Document,
    FieldType,
    Json,
    Kind,
    Value,
    canonical_json,
    canonicaliser,
)
from healthstore.model.wire import from_tagged, to_tagged

__all__ = ("CATALOG", "catalog_id", "definition", "differences", "from_definition", "to_document")

# Any fixed namespace does: ids of catalog rows must be the same in every store.
_NAMESPACE = UUID("0b1f6c5e-5d0e-5f0a-9c2b-7a4a4c2f6d10")

CATALOG = Collection(
    name="healthstore_catalog",
    fields=(
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("name", FieldType(Kind.TEXT, max_length=48)),
        Field("fingerprint", FieldType(Kind.TEXT, max_length=64)),
        Field("definition", FieldType(Kind.JSON)),
    ),
)


def catalog_id(name: str) -> UUID:
    """Return the id of a collection's row in the catalog."""
    return uuid5(_NAMESPACE, name)


def to_document(collection: Collection) -> Document:
    """Return the row of the catalog that describes a collection."""
    return {
        "id": catalog_id(collection.name),
        "version": 1,
        "name": collection.name,
        "fingerprint": collection.fingerprint,
        "definition": definition(collection),
    }


def definition(collection: Collection) -> dict[str, Json]:
    """Return a collection's definition as a JSON object; :func:`from_definition` reads it."""
    return {
        "name": collection.name,
        "fields": [_field(each) for each in collection.fields],
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


def _field(each: Field) -> Json:
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


def _rule(filter_: Filter, collection: Collection) -> Json:
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


def from_definition(described: object) -> Collection:
    """Return the collection that a JSON object describes.

    Raises ConfigurationError if the object is not a definition.
    """
    # JSON from outside: every access may fail, and every failure means the same.
    data = cast(dict[str, Any], described)
    try:
        fields = tuple(_read_field(each) for each in data["fields"])
        types = {each.name: each.type for each in fields}
        return Collection(
            name=data["name"],
            fields=fields,
            uniques=tuple(Unique(*names) for names in data["uniques"]),
            indexes=tuple(Index(*keys) for keys in data["indexes"]),
            references=tuple(
                Reference(each["field"], each["collection"], _on_delete(each["on_delete"]))
                for each in data["references"]
            ),
            checks=tuple(
                Check(each["name"], _read_rule(each["rule"], types)) for each in data["checks"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            "the definition of a collection is malformed",
            hint="it was written by another version of healthstore, or changed by hand",
        ) from error


def _read_field(described: dict[str, Any]) -> Field:
    kind = FieldType(
        kind=Kind(described["kind"]),
        max_length=described.get("max_length"),
        digits=described.get("digits", 0),
        places=described.get("places", 0),
        milliseconds=described.get("milliseconds", False),
        choices=tuple(described.get("choices", ())),
    )
    return Field(described["name"], kind, nullable=described.get("nullable", False))


def _on_delete(text: str) -> OnDelete:
    if text not in {"restrict", "cascade", "set_null"}:
        raise ValueError(text)
    return cast(OnDelete, text)


def _read_rule(described: dict[str, Any], types: dict[str, FieldType]) -> Filter:
    if "not" in described:
        return Not(_read_rule(described["not"], types))
    for key, node in (("and", And), ("or", Or)):
        if key in described:
            return node(tuple(_read_rule(item, types) for item in described[key]))
    kind = types[described["field"]]
    operator = Operator(described["test"])
    wired = described["operand"]
    operand: Value | tuple[Value, ...]
    if isinstance(wired, list) and operator in {Operator.IN, Operator.NOT_IN}:
        operand = tuple(_read_operand(item, kind) for item in wired)
    else:
        operand = _read_operand(wired, kind)
    return Test(described["field"], operator, operand)


def _read_operand(wired: Json, kind: FieldType) -> Value:
    return None if wired is None else canonicaliser(kind)(from_tagged(kind)(wired))


def differences(stored: Collection, wanted: Collection) -> tuple[str, ...]:
    """Return, in words, where a stored definition differs from the wanted one."""
    found: list[str] = []
    for name in sorted(stored.by_name.keys() | wanted.by_name.keys()):
        old, new = stored.by_name.get(name), wanted.by_name.get(name)
        if old is None:
            found.append(f"field {name} is new")
        elif new is None:
            found.append(f"field {name} is gone")
        elif old != new:
            found.append(f"field {name} was {_words(old)}, is {_words(new)}")
    parts: Iterable[tuple[str, object, object]] = (
        ("unique keys", stored.uniques, wanted.uniques),
        ("indexes", stored.indexes, wanted.indexes),
        ("references", stored.references, wanted.references),
        ("checks", stored.checks, wanted.checks),
    )
    found.extend(f"the {what} differ" for what, old, new in parts if old != new)
    if not found and stored.names != wanted.names:
        found.append("the fields have another order")
    return tuple(found)


def _words(each: Field) -> str:
    described = cast(dict[str, Json], canonical_json(_field(each)))
    described.pop("name")
    return ", ".join(f"{key} {value}" for key, value in described.items())
