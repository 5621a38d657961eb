"""Programs as data: entities, and steps over them; and how a program is kept in a file."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias, cast, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

from healthstore.errors import ConfigurationError
from healthstore.model import operators, zones
from healthstore.model.ops import Bucket, Function, Measure
from healthstore.model.query import (
    ALL,
    And,
    FieldOrTerm,
    Filter,
    Not,
    Operator,
    Or,
    Order,
    OtherField,
    Part,
    Term,
    Test,
)
from healthstore.model.values import FieldType, Kind
from healthstore.testing.differential.schemas import Attribute, Looked, Member, Rule, Schema, Span

__all__ = (
    "Add",
    "AddMany",
    "Aggregate",
    "Batch",
    "Count",
    "Delete",
    "DeleteWhere",
    "Find",
    "Get",
    "GetOrAdd",
    "Increment",
    "Initialize",
    "Latest",
    "Patch",
    "PatchWhere",
    "Program",
    "Reopen",
    "Replace",
    "Row",
    "Save",
    "Search",
    "Select",
    "Stale",
    "Step",
    "Transfer",
    "Unit",
    "Update",
    "UpdateMany",
    "UpdateWhere",
    "Upsert",
    "UpsertMany",
    "from_json",
    "to_json",
    "without_references",
)

# Some of an entity's fields by name; a name that the entity does not have is left out.
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Add:
    """Make an entity and add it."""

    schema: str
    row: Row


@dataclass(frozen=True, slots=True)
class AddMany:
    """Make entities and add them."""

    schema: str
    rows: tuple[Row, ...]
    atomic: bool = True


@dataclass(frozen=True, slots=True)
class Get:
    """Read entities by their ids."""

    schema: str
    ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Find:
    """Read page after page, at most ``pages`` of them, and back again."""

    schema: str
    where: Filter = ALL
    order: tuple[Order, ...] = ()
    limit: int = 100
    pages: int = 1


@dataclass(frozen=True, slots=True)
class Search:
    """Search the entity's texts for words, page after page, at most ``pages`` of them."""

    schema: str
    text: str
    where: Filter = ALL
    order: tuple[Order, ...] = ()
    limit: int = 20
    pages: int = 1


@dataclass(frozen=True, slots=True)
class Select:
    """Read some columns of entities, each row once if ``distinct``."""

    schema: str
    columns: tuple[FieldOrTerm, ...]
    where: Filter = ALL
    order: tuple[Order, ...] = ()
    limit: int = 100
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class Latest:
    """Read the last entities of each group."""

    schema: str
    per: tuple[FieldOrTerm, ...]
    by: FieldOrTerm
    n: int = 1
    where: Filter = ALL


@dataclass(frozen=True, slots=True)
class Count:
    """Count entities, and say whether there are any."""

    schema: str
    where: Filter = ALL


@dataclass(frozen=True, slots=True)
class Aggregate:
    """Group entities and compute measures, which are named ``m0`` and so on."""

    schema: str
    measures: tuple[Measure, ...]
    where: Filter = ALL
    group: tuple[str | Bucket, ...] = ()
    having: Filter = ALL
    order: tuple[Order, ...] = ()
    limit: int | None = None
    unwind: str = ""
    """A field of JSON whose lists are unwound, to elements of this kind."""
    element: Kind = Kind.TEXT
    terms: tuple[Term, ...] = ()
    """The parts of JSON that groups and measures name by their paths."""


@dataclass(frozen=True, slots=True)
class Update:
    """Change some fields of an entity, by values and operators."""

    schema: str
    id: UUID
    changes: Row
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Increment:
    """Add to a number of an entity."""

    schema: str
    id: UUID
    field: str
    by: Any
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Upsert:
    """Make an entity and add it, or give its values to the one that has the same key.

    The numbers of the fields in ``add`` are added to the stored ones.
    """

    schema: str
    row: Row
    on: tuple[str, ...]
    add: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpsertMany:
    """Make entities, and add each or give its values to the one that has the same key."""

    schema: str
    rows: tuple[Row, ...]
    on: tuple[str, ...]
    keep: bool = False


@dataclass(frozen=True, slots=True)
class GetOrAdd:
    """Make an entity and add it, unless there is one that has the same key."""

    schema: str
    row: Row
    on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Save:
    """Make an entity and save it in the place of a stored one, as if it had been read as that."""

    schema: str
    row: Row
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace whole documents, as an operation."""

    schema: str
    rows: tuple[Row, ...]
    versions: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Change the same fields of several documents, as an operation."""

    schema: str
    ids: tuple[UUID, ...]
    sets: Row
    increments: Row
    versions: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete documents: one through the repository, several as an operation."""

    schema: str
    ids: tuple[UUID, ...]
    versions: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class UpdateWhere:
    """Change some fields of the entities that a filter finds, whole or in batches."""

    schema: str
    where: Filter
    changes: Row
    batch: int | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class UpdateMany:
    """Change some fields of entities, of each its own."""

    schema: str
    changes: tuple[tuple[UUID, Row], ...]


@dataclass(frozen=True, slots=True)
class PatchWhere:
    """Change fields of the documents that a filter finds, as an operation."""

    schema: str
    where: Filter
    sets: Row
    increments: Row
    everything: bool = False


@dataclass(frozen=True, slots=True)
class DeleteWhere:
    """Delete what a filter finds, through the repository or, in a batch, as an operation."""

    schema: str
    where: Filter
    batch: int | None = None
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Several operations as one."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """Several steps in one unit, which is kept or rolled back; an error ends it."""

    steps: tuple[Step, ...]
    keep: bool = True
    read_only: bool = False
    serializable: bool = False


@dataclass(frozen=True, slots=True)
class Initialize:
    """Initialize, with new classes of the same definition unless it is for the first time."""

    again: bool = True


@dataclass(frozen=True, slots=True)
class Stale:
    """Use an entity with another class than the one for which the store was made.

    ``change`` is what it has ``more`` or ``less``, or ``otherwise``; ``write`` says how it is
    used. It must be served if it is an earlier definition of what is stored, and otherwise be
    refused before anything is written.
    """

    schema: str
    change: str
    write: bool = False


@dataclass(frozen=True, slots=True)
class Reopen:
    """Close the store and open it again."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Copy everything from one store into a new one like the other, and use it there.

    ``by`` is ``migrate`` or ``backup``; ``back`` copies from the store under test to memory.
    """

    by: str
    back: bool = False


Step: TypeAlias = (
    Add
    | AddMany
    | Get
    | Find
    | Search
    | Select
    | Latest
    | Count
    | Aggregate
    | Update
    | Increment
    | Upsert
    | UpsertMany
    | GetOrAdd
    | Save
    | Replace
    | Patch
    | Delete
    | UpdateWhere
    | UpdateMany
    | PatchWhere
    | DeleteWhere
    | Batch
    | Unit
    | Initialize
    | Stale
    | Reopen
    | Transfer
)


@dataclass(frozen=True, slots=True)
class Program:
    """Entities, and what is done with them.

    ``precision`` is that of the decimal context in which the program runs, if it is not Python's
    own; then nothing may be rounded in it, either.
    """

    schemas: tuple[Schema, ...]
    steps: tuple[Step, ...]
    precision: int | None = None


def without_references(program: Program) -> Program:
    """Return the program for a store that cannot enforce references."""
    schemas = tuple(
        replace(schema, attributes=tuple(replace(each, refers=None) for each in schema.attributes))
        for schema in program.schemas
    )
    return replace(program, schemas=schemas)


# --- files -------------------------------------------------------------------------------------


def _name(kind: type) -> str:
    """Return what a class is called in a file: a step and an operator may have one name."""
    of_operators = kind.__module__ == operators.__name__
    return f"operators.{kind.__name__}" if of_operators else kind.__name__


# What a file may hold. An object with the key "$" names one of these, or a kind of value.
_CLASSES: Mapping[str, type] = {
    _name(each): each
    for each in (
        *get_args(operators.Operator),
        *(Program, Schema, Attribute, Rule, Looked, Member, Span, FieldType, Measure, Bucket),
        *(Order, Term),
        *(Test, Part, OtherField, And, Or, Not),
        *(Add, AddMany, Get, Find, Search, Select, Latest, Count, Aggregate),
        *(Update, Increment, Upsert, UpsertMany, GetOrAdd, Save, Replace, Patch),
        *(UpdateWhere, UpdateMany, PatchWhere, DeleteWhere),
        *(Delete, Batch, Unit, Initialize, Stale, Reopen, Transfer),
    )
}
_ENUMS: Mapping[str, type[Enum]] = {
    each.__name__: each
    for each in cast("tuple[type[Enum], ...]", (Kind, Operator, Function, zones.Unit))
}
_MICROSECOND = timedelta(microseconds=1)
_WRITERS: Mapping[type, tuple[str, Callable[[Any], object]]] = {
    UUID: ("uuid", str),
    Decimal: ("decimal", str),
    date: ("date", date.isoformat),
    time: ("time", time.isoformat),
    timedelta: ("duration", lambda value: str(value // _MICROSECOND)),
    bytes: ("bytes", lambda value: base64.b64encode(value).decode("ascii")),
    bytearray: ("bytearray", lambda value: base64.b64encode(value).decode("ascii")),
    list: ("list", lambda value: [to_json(item) for item in value]),
    dict: ("dict", lambda value: [[key, to_json(item)] for key, item in value.items()]),
}
_READERS: Mapping[str, Callable[[Any], object]] = {
    "uuid": UUID,
    "decimal": Decimal,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "duration": lambda text: timedelta(microseconds=int(text)),
    "bytes": base64.b64decode,
    "bytearray": lambda text: bytearray(base64.b64decode(text)),
    "list": lambda items: [from_json(item) for item in items],
    "dict": lambda items: {key: from_json(item) for key, item in items},
    "datetime": lambda parts: _read_datetime(*parts),
}


def to_json(value: Any) -> Any:
    """Return a program, or a part of it, as what JSON can hold: arrays are tuples."""
    if isinstance(value, Enum):
        return {"$": type(value).__name__, "value": value.value}
    if isinstance(value, datetime):
        zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
        return {"$": "datetime", "value": [value.isoformat(), zone, value.fold]}
    if is_dataclass(value):
        parts = {each.name: to_json(getattr(value, each.name)) for each in fields(value)}
        return {"$": _name(type(value)), **parts}
    if isinstance(value, tuple):
        return [to_json(item) for item in cast("tuple[object, ...]", value)]
    if type(value) in _WRITERS:
        name, write = _WRITERS[type(value)]
        return {"$": name, "value": write(value)}
    return value


def from_json(written: Any) -> Any:
    """Return what :func:`to_json` wrote; raise ConfigurationError for anything else."""
    if isinstance(written, list):
        return tuple(from_json(item) for item in cast("list[object]", written))
    if not isinstance(written, dict):
        return written
    parts = cast("dict[str, Any]", written)
    name = str(parts.get("$"))
    try:
        if name in _ENUMS and "value" in parts:  # a Unit of time; that of several steps has none
            return _ENUMS[name](parts["value"])
        if name in _READERS:
            return _READERS[name](parts["value"])
        given = {key: from_json(value) for key, value in parts.items() if key != "$"}
        return _CLASSES[name](**given)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        raise ConfigurationError(
            f"this is no program: {name!r} cannot be read",
            hint="replay a file that the differential test wrote",
        ) from None


def _read_datetime(text: str, zone: str | None, fold: int) -> datetime:
    read = datetime.fromisoformat(text)
    return read if zone is None else read.replace(tzinfo=ZoneInfo(zone), fold=fold)
