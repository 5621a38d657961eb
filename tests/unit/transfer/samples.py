"""The collections, documents and stores on which transfers are tested."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from healthstore.abc import Backend, Layer
from healthstore.adapters.memory import MemoryAdapter
from healthstore.model.ops import Effect, Ensure, Find, Insert, Op, Replace
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Index, Reference, Unique
from healthstore.model.values import Document, FieldType, Kind

R = TypeVar("R")

_KEY = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
_TEXT = FieldType(Kind.TEXT, max_length=100)

EVERYTHING = Collection(
    "everything",
    (
        *_KEY,
        Field("text", FieldType(Kind.TEXT), nullable=True),
        Field("number", FieldType(Kind.INTEGER), nullable=True),
        Field("flag", FieldType(Kind.BOOLEAN), nullable=True),
        Field("ratio", FieldType(Kind.FLOAT), nullable=True),
        Field("price", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("amount", FieldType(Kind.DECIMAL, digits=28, places=10), nullable=True),
        Field("moment", FieldType(Kind.DATETIME), nullable=True),
        Field("moment_ms", FieldType(Kind.DATETIME, milliseconds=True), nullable=True),
        Field("day", FieldType(Kind.DATE), nullable=True),
        Field("clock", FieldType(Kind.TIME), nullable=True),
        Field("span", FieldType(Kind.DURATION), nullable=True),
        Field("owner", FieldType(Kind.UUID), nullable=True),
        Field("blob", FieldType(Kind.BYTES), nullable=True),
        Field("data", FieldType(Kind.JSON), nullable=True),
        Field("level", FieldType(Kind.ENUM, choices=("low", "High", "äußerst")), nullable=True),
    ),
)
PEOPLE = Collection(
    "people",
    (*_KEY, Field("email", _TEXT), Field("mentor", FieldType(Kind.UUID), nullable=True)),
    uniques=(Unique("email"),),
    references=(Reference("mentor", "people"),),
)
READINGS = Collection(
    "readings",
    (
        *_KEY,
        Field("person", FieldType(Kind.UUID)),
        Field("pulse", FieldType(Kind.INTEGER), nullable=True),
        Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4), nullable=True),
        Field("taken", FieldType(Kind.DATETIME), nullable=True),
        Field("note", _TEXT, nullable=True),
    ),
    indexes=(Index("person", "-taken"),),
    references=(Reference("person", "people"),),
    checks=(Check("pulse_is_human", (F.pulse >= 0) & (F.pulse <= 400)),),
)
# A root is its own parent: no reference to a later one can be left out with null.
NODES = Collection(
    "nodes",
    (*_KEY, Field("parent", FieldType(Kind.UUID)), Field("name", _TEXT)),
    references=(Reference("parent", "nodes"),),
)

# Neither null nor a node's own id can stand in for its parent: siblings have other names.
NAMED_NODES = Collection(
    "named_nodes",
    (*_KEY, Field("parent", FieldType(Kind.UUID)), Field("rank", FieldType(Kind.INTEGER))),
    uniques=(Unique("parent", "rank"),),
    references=(Reference("parent", "named_nodes"),),
)

# Each needs the other one: an office has a head of its staff, and a deputy office.
OFFICES = Collection(
    "offices",
    (
        *_KEY,
        Field("head", FieldType(Kind.UUID), nullable=True),
        Field("deputy", FieldType(Kind.UUID), nullable=True),
    ),
    references=(Reference("head", "staff"), Reference("deputy", "offices")),
)
STAFF = Collection(
    "staff",
    (*_KEY, Field("office", FieldType(Kind.UUID))),
    references=(Reference("office", "offices"),),
)

_START = datetime(2026, 1, 1, tzinfo=UTC)


def identity(number: int) -> UUID:
    """Return an id; ids are in order of their numbers."""
    return UUID(int=0x019B00000000700080000000_00000000 + number)


def person(number: int, mentor: int | None = None) -> Document:
    """Return a person, with the number of a mentor."""
    return {
        "id": identity(number),
        "version": 1 + number % 3,
        "email": f"p{number}@example.org",
        "mentor": None if mentor is None else identity(mentor),
    }


def reading(number: int, of: int = 0) -> Document:
    """Return a reading of a person; numbers are apart from those of people."""
    return {
        "id": identity(1_000_000 + number),
        "version": 1,
        "person": identity(of),
        "pulse": number % 200 if number % 7 else None,
        "weight": Decimal(number).scaleb(-4),
        "taken": _START + timedelta(seconds=number, microseconds=number % 3),
        "note": "quiet" if number % 2 else None,
    }


def node(number: int, parent: int) -> Document:
    """Return a node of a tree."""
    parts = {"parent": identity(parent), "name": f"node {number}"}
    return {"id": identity(number), "version": 1, **parts}


async def agency() -> Backend:
    """Return a store in memory whose two collections refer to each other."""
    places = range(40)
    offices: list[Document] = [
        {"id": identity(at), "version": 2, "head": None, "deputy": identity((at * 7 + 3) % 40)}
        for at in places
    ]
    staff: list[Document] = [
        {"id": identity(100 + at), "version": 1, "office": identity(39 - at)} for at in places
    ]
    store = MemoryAdapter("agency")
    await store.open()
    await store.execute(Ensure((STAFF, OFFICES)))
    await store.execute(Insert(OFFICES, tuple(offices)))
    await store.execute(Insert(STAFF, tuple(staff)))
    headed = tuple({**office, "head": identity(100 + at)} for at, office in enumerate(offices))
    await store.execute(Replace(OFFICES, headed))
    return store


def everything(number: int) -> Document:
    """Return a document with a value in every field."""
    return {
        "id": identity(number),
        "version": 1,
        "text": f'line\nbreak, "quotes" and 😀 {number}',
        "number": 2**53 + number,
        "flag": number % 2 == 0,
        "ratio": number / 7,
        "price": Decimal(number).scaleb(-4),
        "amount": Decimal(-number).scaleb(-10),
        "moment": _START + timedelta(microseconds=number % 2),
        "moment_ms": _START + timedelta(milliseconds=number % 1000),
        "day": date(2026, 1, 1),
        "clock": time(7, 30, 0, number % 2),
        "span": timedelta(microseconds=-number),
        "owner": identity(number + 1),
        "blob": bytes([0, 255, number % 256]),
        "data": {"$date": number, "list": [1.5, None, {"b": "é"}]},
        "level": "äußerst",
    }


async def opened(name: str = "memory", *contents: tuple[Collection, Sequence[Document]]) -> Backend:
    """Return an open store in memory that holds these documents."""
    store = MemoryAdapter(name)
    await store.open()
    await fill(store, *contents)
    return store


async def narrow(most: int) -> MemoryAdapter:
    """Return an open, empty store that keeps no larger documents."""
    store = MemoryAdapter("narrow")
    store.capabilities = replace(store.capabilities, max_document_bytes=most)
    await store.open()
    return store


async def fill(store: Backend, *contents: tuple[Collection, Sequence[Document]]) -> None:
    """Create collections in a store and add documents."""
    if contents:
        await store.execute(Ensure(tuple(collection for collection, _ in contents)))
    for collection, rows in contents:
        if rows:
            await store.execute(Insert(collection, tuple(rows)))


async def stored(store: Backend, collection: Collection) -> list[Document]:
    """Return every document of a collection, in order of id."""
    return list(await store.execute(Find(collection, limit=1_000_000)))


def exact(rows: Iterable[Document]) -> list[str]:
    """Return what tells 1 from 1.0 and True, and 1.5 from 1.50, in documents."""
    return [repr(sorted(row.items())) for row in rows]


def tasks() -> Iterable[asyncio.Task[object]]:
    """Return the tasks of the running loop, but for the current one."""
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]  # there is one


class Watched(Layer):
    """Counts operations, and calls a hook before each: to fail, to wait, to look."""

    rank = 99

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.seen: list[Op[object]] = []
        self.before = _nothing

    async def execute(self, op: Op[R]) -> R:
        """Record an operation, call the hook and run it."""
        self.seen.append(op)
        await self.before(op)
        return await self.inner.execute(op)

    @property
    def writes(self) -> list[Op[object]]:
        """The operations so far that change documents."""
        return [op for op in self.seen if op.effect is Effect.WRITE]


async def _nothing(_: Op[object]) -> None:
    return
