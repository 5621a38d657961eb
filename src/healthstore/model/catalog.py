"""The catalog: definitions as data, and the collection in which each store keeps its own.

Every store remembers the definitions from which its collections were made, in
``healthstore_catalog``. So a store can be checked against the entities of a program, moved or
backed up without them, and described to a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast
from uuid import UUID, uuid5

from healthstore.errors import ConfigurationError, SchemaMismatchError, UnknownFieldError
from healthstore.model.change.difference import changes_between
from healthstore.model.description import definition, described_field, kind_of
from healthstore.model.json import canonical_json
from healthstore.model.query import And, Filter, Not, Operator, Or, OtherField, Term, Test
from healthstore.model.schema import Check, Collection, Field, Index, OnDelete, Reference, Unique
from healthstore.model.shape import filter_shape, index_shape, unique_shape
from healthstore.model.values import (
    Document,
    FieldType,
    Json,
    Kind,
    Value,
)
from healthstore.model.wire import from_tagged

__all__ = (
    "CATALOG",
    "DIFFERENCE_HINT",
    "altering",
    "catalog_id",
    "closing",
    "definition",
    "differences",
    "from_definition",
    "is_changing",
    "is_renaming",
    "opened",
    "references_led",
    "require_makeable",
    "require_same",
    "require_unaltered",
    "to_altering",
    "to_closing",
    "to_document",
    "to_mark",
    "to_renaming",
)

DIFFERENCE_HINT = (
    "db.schema.plan() and healthstore schema diff show each change and its effect; "
    "db.schema.evolve() applies additive ones, migration files the others (healthstore schema "
    "revise, upgrade); a revision of Alembic ends with healthstore.alembic.stamp()"
)
_ALTERING = "altering"
_RENAMING = "renaming"
_CLOSING = "closing"
_CHANGES = frozenset({_ALTERING, _RENAMING, _CLOSING})
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


def to_mark(name: str, version: int, said: object) -> Document:
    """Return a row of the catalog that says something of the store, as JSON, and of no collection.

    ``name`` is one that no collection can have.
    """
    return {
        "id": catalog_id(name),
        "version": version,
        "name": name,
        "fingerprint": "",
        "definition": canonical_json(said),
    }


def to_altering(row: Document, after: Collection) -> Document:
    """Return the row of a collection that is being altered, which says to what.

    For a store that alters step by step: what has been left there is told by it.
    """
    described = {**cast("dict[str, Json]", row["definition"]), _ALTERING: definition(after)}
    version = cast(int, row["version"]) + 1
    return {**row, "version": version, "definition": canonical_json(described)}


def to_renaming(row: Document, after: Collection) -> Document:
    """Return the row of a collection of which something is being renamed: it serves nobody.

    For a store that renames step by step.
    """
    marked = to_altering(row, after)
    described = cast("dict[str, Json]", marked["definition"])
    return {
        **marked,
        "fingerprint": "",
        "definition": canonical_json({**described, _RENAMING: True}),
    }


def is_renaming(row: Document) -> bool:
    """Tell whether something of a collection is being renamed."""
    return _RENAMING in cast("dict[str, Json]", row["definition"])


def is_changing(row: Document) -> bool:
    """Tell whether a collection is being altered or renamed, or is about to be."""
    return not _CHANGES.isdisjoint(cast("dict[str, Json]", row["definition"]))


def altering(row: Document) -> Collection | None:
    """Return the definition that a collection was to have when its alteration was cut short."""
    described = cast("dict[str, Json]", row["definition"]).get(_ALTERING)
    return None if described is None else from_definition(described)


def to_closing(row: Document, after: Collection | None) -> Document:
    """Return the row of a collection that is to become another one, or to go.

    It serves only those programs any more which the other one serves, too.
    """
    described = cast("dict[str, Json]", row["definition"])
    mark = None if after is None else definition(after)
    return {
        **row,
        "version": cast(int, row["version"]) + 1,
        "definition": canonical_json({**described, _CLOSING: mark}),
    }


def opened(row: Document) -> Document:
    """Return the row of a collection that stays as it is after all."""
    described = dict(cast("dict[str, Json]", row["definition"]))
    described.pop(_CLOSING, None)
    version = cast(int, row["version"]) + 1
    return {**row, "version": version, "definition": canonical_json(described)}


def closing(row: Document) -> tuple[Collection | None] | None:
    """Return what a collection is to become, None if it is to go; nothing if it stays."""
    described = cast("dict[str, Json]", row["definition"])
    if _CLOSING not in described:
        return None
    after = described[_CLOSING]
    return (None if after is None else from_definition(after),)


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
            uniques=tuple(_read_unique(each, types) for each in data["uniques"]),
            indexes=tuple(_read_index(each, types) for each in data["indexes"]),
            references=tuple(
                Reference(each["field"], each["collection"], _on_delete(each["on_delete"]))
                for each in data["references"]
            ),
            checks=tuple(
                Check(each["name"], _read_rule(each["rule"], types)) for each in data["checks"]
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, UnknownFieldError):
        raise ConfigurationError(
            "the definition of a collection is malformed",
            hint="it was written by another version of healthstore, or changed by hand",
        ) from None  # the cause may quote a value of a check


def _read_field(described: dict[str, Any]) -> Field:
    kind = replace(
        kind_of(described["kind"]),
        max_length=described.get("max_length"),
        digits=described.get("digits", 0),
        places=described.get("places", 0),
        milliseconds=described.get("milliseconds", False),
        choices=tuple(described.get("choices", ())),
    )
    default = _read_operand(described.get("default"), kind)
    return Field(described["name"], kind, described.get("nullable", False), default)


def _read_unique(described: Any, types: dict[str, FieldType]) -> Unique:
    if isinstance(described, list):
        return Unique(*described)
    if "where" in described:
        where = _read_rule(described["where"], types)
        return Unique(*described["unique"], ignore_case=described["ignore_case"], where=where)
    return Unique(*described["fields"], ignore_case=described["ignore_case"])


def _read_index(described: Any, types: dict[str, FieldType]) -> Index:
    if isinstance(described, list):
        return Index(*described)
    keys = map(_read_key, described["keys"])
    where = described.get("where")
    return Index(*keys, where=None if where is None else _read_rule(where, types))


def _read_key(described: Any) -> str | Term:
    if isinstance(described, str):
        return described
    return Term(described["field"], tuple(described["path"]), Kind(described["kind"]))


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
    if "other" in described:
        return Test(described["field"], operator, OtherField(described["other"]))
    wired = described["operand"]
    operand: Value | tuple[Value, ...]
    if isinstance(wired, list) and operator in {Operator.IN, Operator.NOT_IN}:
        operand = tuple(_read_operand(item, kind) for item in wired)
    else:
        operand = _read_operand(wired, kind)
    return Test(described["field"], operator, operand)


def _read_operand(wired: Json, kind: FieldType) -> Value:
    # The collection makes it canonical, or refuses it.
    return None if wired is None else cast(Value, from_tagged(kind)(wired))


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
    found.extend(_part_differences(stored, wanted))
    found.extend(_check_differences(stored, wanted))
    if stored.name != wanted.name:
        found.append(f"the name was {stored.name}, is {wanted.name}")
    return tuple(found)


def _part_differences(stored: Collection, wanted: Collection) -> Iterator[str]:
    """Tell which unique keys, indexes and references are new, gone or other ones."""
    before, now = _parts(stored), _parts(wanted)
    for part in (*before, *(each for each in now if each not in before)):
        if part not in before:
            yield f"{part} is new"
        elif part not in now:
            yield f"{part} is gone"
        elif before[part] != now[part]:
            yield f"{part} was {before[part]}, is {now[part]}"


def _parts(collection: Collection) -> dict[str, str]:
    """Return what unique keys, indexes and references are called, and what else they say."""
    parts = {
        unique_shape(each): "" if each.where is None else collection.index_name(each)
        for each in collection.uniques
    }
    parts |= {
        index_shape(each): "" if each.where is None else collection.index_name(each)
        for each in collection.indexes
    }
    parts |= {
        f"reference {each.field}": f"to {each.collection} with on_delete {each.on_delete}"
        for each in collection.references
    }
    return parts


def _check_differences(stored: Collection, wanted: Collection) -> Iterator[str]:
    """Tell which checks are new, gone or other ones, without the values they compare with."""
    before, now = ({each.name: each.rule for each in one.checks} for one in (stored, wanted))
    for name in sorted(before.keys() | now.keys()):
        if name not in before:
            yield f"check {name} is new: {filter_shape(now[name])}"
        elif name not in now:
            yield f"check {name} is gone"
        elif before[name] != now[name]:
            was, wanted_now = filter_shape(before[name]), filter_shape(now[name])
            if was == wanted_now:
                yield f"check {name} compares with other values: {was}"
            else:
                yield f"check {name} was {was}, is {wanted_now}"


def _words(each: Field) -> str:
    described = cast(dict[str, Json], canonical_json(described_field(each)))
    described.pop("name")
    described.pop("default", None)  # a value of the program's
    return ", ".join(f"{key} {value}" for key, value in described.items())


def require_makeable(
    collection: Collection, row: Document | None, there: frozenset[str], together: set[str]
) -> None:
    """Raise ConfigurationError unless a collection can be made, or is there and the same."""
    for reference in collection.references:
        if reference.collection not in there | together:
            raise ConfigurationError(
                f"refers to {reference.collection!r}, which is not there",
                hint="initialize its entity too, in the same call",
                entity=collection.entity,
                field=reference.field,
            )
    if row is not None:
        require_same(row, collection)
    elif collection.name in there:
        raise SchemaMismatchError(
            f"{collection.name!r} exists, but healthstore did not make it",
            hint="use another collection name or an empty database; where Alembic made it from "
            "healthstore.alembic.metadata(), let its revision call healthstore.alembic.stamp()",
            entity=collection.entity,
        )


def require_same(row: Document, wanted: Collection) -> None:
    """Raise SchemaMismatchError unless a row of the catalog describes the wanted collection."""
    if row["fingerprint"] == wanted.fingerprint:
        return
    _require_not_renaming(row, wanted)
    # One that an earlier release wrote may spell the same definition in another way.
    stored = from_definition(row["definition"])
    if stored == wanted:
        return
    found = differences(stored, wanted)
    raise SchemaMismatchError(
        f"the stored collection {wanted.name!r} has another definition: {'; '.join(found)}",
        hint=DIFFERENCE_HINT,
        entity=wanted.entity,
    )


def require_unaltered(row: Document | None, before: Collection, after: Collection) -> bool:
    """Return whether a row of the catalog still has the definition that is to be changed.

    False: it has the one that it is to have, defaults included. Raises ConfigurationError if there
    is no such collection, and SchemaMismatchError if it has yet another definition.
    """
    if row is None:
        raise ConfigurationError(
            f"there is no collection {after.name!r}",
            hint="call initialize() with its entity first",
            entity=after.entity,
        )
    _require_not_renaming(row, after)
    stored = from_definition(row["definition"])
    if not changes_between(stored, after):
        return False
    found = differences(before, stored)
    if found:
        raise SchemaMismatchError(
            f"the stored collection {after.name!r} is another one by now: {'; '.join(found)}",
            hint="compare again: db.schema.plan(), healthstore schema diff",
            entity=after.entity,
        )
    return True


def _require_not_renaming(row: Document, wanted: Collection) -> None:
    if is_renaming(row):
        raise SchemaMismatchError(
            f"the stored collection {wanted.name!r} is being renamed, or a field of it",
            hint="wait for the migration; if it was cut short, complete it: db.schema.upgrade(), "
            "healthstore schema upgrade",
            entity=wanted.entity,
        )


def references_led(given: Collection, before: str, after: str) -> Collection | None:
    """Return a definition with references to a collection's new name; None where it has none."""
    if all(each.collection != before for each in given.references):
        return None
    led = tuple(
        replace(each, collection=after) if each.collection == before else each
        for each in given.references
    )
    return replace(given, references=led)
