"""The collections and documents on which the contract is tested."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from healthstore.abc import Backend, Executor
from healthstore.entity import Entity
from healthstore.model.evaluate import matches, sort_documents
from healthstore.model.ops import Ensure, Find, Get, Insert
from healthstore.model.query import ALL, F, Filter, Order
from healthstore.model.schema import (
    Check,
    Collection,
    Field,
    Index,
    OnDelete,
    Reference,
    Unique,
)
from healthstore.model.values import Document, FieldType, Kind, Value, canonicaliser
from healthstore.repository import Repository
from healthstore.testing.edges import EDGES, LARGE

__all__ = (
    "CHECKED",
    "EDGES",
    "EVERYTHING",
    "KEYED",
    "LARGE",
    "PEOPLE",
    "READINGS",
    "SPELLINGS",
    "add",
    "add_entities",
    "canonical",
    "checked",
    "every_row",
    "everything",
    "exact",
    "family",
    "identity",
    "ids",
    "keyed",
    "member",
    "one",
    "person",
    "reading",
    "selected",
    "settle",
    "stored",
    "typed",
)

M = TypeVar("M", bound=Entity)

# Long enough for a statement that does not have to wait, on a busy machine.
_A_MOMENT = 0.3

_BERLIN = ZoneInfo("Europe/Berlin")


def _fields(*fields: Field) -> tuple[Field, ...]:
    key = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
    return (*key, *fields)


_TYPES: Mapping[str, FieldType] = {
    "text": FieldType(Kind.TEXT),
    "label": FieldType(Kind.TEXT, max_length=100),
    "number": FieldType(Kind.INTEGER),
    "flag": FieldType(Kind.BOOLEAN),
    "ratio": FieldType(Kind.FLOAT),
    "amount": FieldType(Kind.DECIMAL, digits=28, places=10),
    "price": FieldType(Kind.DECIMAL, digits=12, places=4),
    "moment": FieldType(Kind.DATETIME),
    "moment_ms": FieldType(Kind.DATETIME, milliseconds=True),
    "day": FieldType(Kind.DATE),
    "clock": FieldType(Kind.TIME),
    "span": FieldType(Kind.DURATION),
    "owner": FieldType(Kind.UUID),
    "blob": FieldType(Kind.BYTES),
    "data": FieldType(Kind.JSON),
    "level": FieldType(Kind.ENUM, choices=("low", "High", "mid", "äußerst")),
}

EVERYTHING = Collection(
    "contract_everything",
    _fields(*(Field(name, kind, nullable=True) for name, kind in _TYPES.items())),
    entity="Everything",
)

PEOPLE = Collection(
    "contract_people",
    _fields(
        Field("email", FieldType(Kind.TEXT, max_length=100)),
        Field("name", FieldType(Kind.TEXT, max_length=100), nullable=True),
        Field("team", FieldType(Kind.TEXT, max_length=50), nullable=True),
        Field("number", FieldType(Kind.INTEGER), nullable=True),
        Field("visits", FieldType(Kind.INTEGER)),
        Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("profile", FieldType(Kind.JSON), nullable=True),
    ),
    uniques=(Unique("email"), Unique("team", "number")),
    indexes=(Index("name", "-visits"),),
    entity="Person",
)

READINGS = Collection(
    "contract_readings",
    _fields(
        Field("place", FieldType(Kind.TEXT, max_length=20), nullable=True),
        Field("kind", FieldType(Kind.ENUM, choices=("pulse", "weight", "steps"))),
        Field("day", FieldType(Kind.DATE), nullable=True),
        Field("steps", FieldType(Kind.INTEGER), nullable=True),
        Field("pulse", FieldType(Kind.FLOAT), nullable=True),
        Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("dose", FieldType(Kind.DECIMAL, digits=28, places=8), nullable=True),
        Field("rest", FieldType(Kind.DURATION), nullable=True),
        Field("taken", FieldType(Kind.DATETIME), nullable=True),
        Field("clock", FieldType(Kind.TIME), nullable=True),
        Field("valid", FieldType(Kind.BOOLEAN), nullable=True),
        Field("device", FieldType(Kind.UUID), nullable=True),
    ),
    indexes=(Index("place", "-day"), Index("-taken")),
    entity="Reading",
)

CHECKED = Collection(
    "contract_checked",
    _fields(
        Field("age", FieldType(Kind.INTEGER), nullable=True),
        Field("state", FieldType(Kind.TEXT, max_length=20), nullable=True),
        Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("since", FieldType(Kind.DATE), nullable=True),
        Field("note", FieldType(Kind.TEXT, max_length=40)),
    ),
    checks=(
        Check("age_is_human", (F.age >= 0) & (F.age <= 150)),
        Check("state_is_known", F.state.in_(["open", "closed", "it's"])),
        Check("weight_is_plausible", ~((F.weight <= Decimal(0)) | (F.weight > Decimal(700)))),
        Check("since_is_recent", F.since >= date(1900, 1, 1)),
        Check("children_are_open", (F.age >= 18) | (F.state == "open")),
    ),
    entity="Checked",
)

_KEY_TYPES: Mapping[str, FieldType] = {
    name: _TYPES[name]
    for name in (
        *("label", "number", "flag", "ratio", "amount", "price", "moment", "moment_ms"),
        *("day", "clock", "span", "owner", "level"),
    )
}

# A unique key over each kind of field that can be indexed.
KEYED = Collection(
    "contract_keyed",
    _fields(
        *(Field(name, kind, nullable=True) for name, kind in _KEY_TYPES.items()),
        Field("wide", FieldType(Kind.TEXT, max_length=640), nullable=True),
    ),
    uniques=tuple(Unique(name) for name in (*_KEY_TYPES, "wide")),
    entity="Keyed",
)


def family(on_delete: OnDelete) -> tuple[Collection, Collection, Collection]:
    """Return three generations of collections, each with references to the one before.

    A child's ``parent`` and a grandchild's ``parent`` are treated as ``on_delete`` says.
    """
    name = Field("name", FieldType(Kind.TEXT))
    parent = Field("parent", FieldType(Kind.UUID), nullable=True)
    parents = Collection(f"contract_{on_delete}_parents", _fields(name), entity="Parent")
    children, grandchildren = (
        Collection(
            f"contract_{on_delete}_{plural}",
            _fields(parent, name),
            references=(Reference("parent", f"contract_{on_delete}_{above}", on_delete),),
            entity=entity,
        )
        for plural, entity, above in (
            ("children", "Child", "parents"),
            ("grandchildren", "Grandchild", "children"),
        )
    )
    return parents, children, grandchildren


# --- values at the edges of each kind: see healthstore.testing.edges ---------------------------

# (field, what is given, what is kept): two spellings of one value.
SPELLINGS: tuple[tuple[str, object, Value], ...] = (
    ("ratio", -0.0, 0.0),
    ("ratio", 70, 70.0),
    ("amount", Decimal("-0"), Decimal("0E-10")),
    ("amount", Decimal("1E+3"), Decimal("1000.0000000000")),
    ("price", 5, Decimal("5.0000")),
    (
        "moment",
        datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN, fold=1),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    ),
    (
        "moment",
        datetime(2026, 7, 1, 2, 30, 0, 7, tzinfo=_BERLIN),
        datetime(2026, 7, 1, 0, 30, 0, 7, tzinfo=UTC),
    ),
    ("blob", bytearray(b"ab"), b"ab"),
    ("data", {"b": -0.0, "a": (1, 2)}, {"a": [1, 2], "b": 0.0}),
)


# --- documents -------------------------------------------------------------------------------


def _document(collection: Collection, values: Mapping[str, object]) -> Document:
    for name in values:
        collection.field(name)
    document = dict.fromkeys(collection.names)
    return cast(Document, {**document, "id": uuid4(), "version": 1, **values})


def identity(number: int) -> UUID:
    """Return an id; a greater number gives a greater id."""
    return UUID(int=number << 64 | 0x8000_0000_0000_0001)


def everything(**values: object) -> Document:
    """Return a document of :data:`EVERYTHING`, null where nothing is given."""
    return _document(EVERYTHING, values)


def person(at: int = 0, /, **values: object) -> Document:
    """Return a document of :data:`PEOPLE`; the number makes its e-mail address."""
    return _document(PEOPLE, {"email": f"{at}@example.org", "visits": 0, **values})


def reading(**values: object) -> Document:
    """Return a document of :data:`READINGS`."""
    return _document(READINGS, {"kind": "pulse", **values})


def checked(**values: object) -> Document:
    """Return a document of :data:`CHECKED`."""
    return _document(CHECKED, {"note": "", **values})


def keyed(**values: object) -> Document:
    """Return a document of :data:`KEYED`."""
    return _document(KEYED, values)


def member(collection: Collection, parent: Value = None, **values: object) -> Document:
    """Return a document of one generation of a :func:`family`."""
    referring = {"parent": parent} if collection.references else {}
    return _document(collection, {"name": "", **referring, **values})


def every_row(count: int) -> list[Document]:
    """Return documents of :data:`EVERYTHING` that mix the edges of all kinds with nulls."""
    rows: list[Document] = []
    for number in range(count):
        values: dict[str, object] = {"id": identity(number)}
        for place, (name, edges) in enumerate(EDGES.items()):
            null = (number * 7 + place * 3) % 5 == 0
            values[name] = None if null else edges[(number + place) % len(edges)]
        rows.append(everything(**values))
    return rows


# --- doing and comparing ---------------------------------------------------------------------


async def add_entities(repository: Repository[M], store: Backend, entities: Iterable[M]) -> None:
    """Add entities to an empty collection, each by itself where the store has no units."""
    if store.capabilities.transactions:
        await repository.add_many(entities)
        return
    added = await repository.add_many(entities, mode="best_effort")
    assert not added.errors


async def add(store: Backend, collection: Collection, *documents: Document) -> None:
    """Make a collection if it is missing, and add documents as any backend can."""
    await store.execute(Ensure((collection,)))
    if store.capabilities.transactions or len(documents) < 2:
        await store.execute(Insert(collection, documents))
    else:
        await store.execute(Insert(collection, documents, atomic=False))


async def settle(task: asyncio.Future[Any]) -> None:
    """Give a task a moment; a backend may make it wait for the end of a unit."""
    await asyncio.wait({task}, timeout=_A_MOMENT)


async def stored(store: Executor, collection: Collection, where: Filter = ALL) -> list[Document]:
    """Return every document that satisfies a filter, by id."""
    found: list[Document] = []
    position: tuple[Value, ...] | None = None
    while True:
        page = await store.execute(Find(collection, where, limit=1_000, after=position))
        found.extend(page)
        if len(page) < 1_000:
            return found
        position = (page[-1]["id"],)


async def one(store: Executor, collection: Collection, document: Document) -> Document | None:
    """Return the stored document with the id of this one."""
    (found,) = await store.execute(Get(collection, (cast(UUID, document["id"]),)))
    return found


def selected(
    rows: Iterable[Document], where: Filter, order: Sequence[Order] = (Order("id"),)
) -> list[Document]:
    """Return what the reference evaluator selects from rows, in order."""
    return sort_documents(filter(matches(where), rows), order)


def canonical(collection: Collection, name: str, value: object) -> Value:
    """Return the canonical form of a value of a field."""
    return canonicaliser(collection.field(name).type)(value)


def ids(documents: Iterable[Document]) -> tuple[UUID, ...]:
    """Return the ids of documents."""
    return tuple(cast(UUID, document["id"]) for document in documents)


def exact(document: Document | None) -> dict[str, object] | None:
    """Return a document with each value :func:`typed`; the order of its fields does not count."""
    return None if document is None else {name: typed(each) for name, each in document.items()}


def typed(value: object) -> object:
    """Return a form that is equal only for values of the same type that print the same.

    ``1``, ``1.0``, ``True`` and ``Decimal("1.0")`` are equal to Python; here they differ, as do
    instants with other zones and objects whose keys come in another order.
    """
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return ("dict", [(key, typed(inner)) for key, inner in entries.items()])
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return (type(items).__name__, [typed(inner) for inner in items])
    return f"{type(value).__name__} {value!r}"
