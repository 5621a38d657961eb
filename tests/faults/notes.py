"""What the tests of faults write and read, and how long they let it take."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID, uuid4

from tests.faults.turning import turning

from healthstore.abc import Backend, BackendURL
from healthstore.abc.registry import connect
from healthstore.model.ops import CountDocuments, Ensure, Get, Insert
from healthstore.model.schema import Collection, Field, Unique
from healthstore.model.values import Document, FieldType, Kind

__all__ = (
    "MARGIN",
    "NOTES",
    "add",
    "count",
    "direct",
    "has",
    "lent",
    "note",
    "options",
    "prepared",
    "within",
)

MARGIN = 0.25
"""Seconds by which a call may outlive its deadline."""

NOTES = Collection(
    "notes",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("text", FieldType(Kind.TEXT, max_length=100)),
    ),
    uniques=(Unique("text"),),
    entity="Note",
)


def note(text: str) -> Document:
    """Return a new note."""
    return {"id": uuid4(), "version": 1, "text": text}


def direct(url: str) -> str:
    """Return a URL whose driver stays with the address in it, and asks for no replica set's."""
    return url.replace("replicaSet=rs0", "directConnection=true")


def options(url: str, **more: object) -> str:
    """Return a URL with options added."""
    added = "&".join(f"{name}={value}" for name, value in more.items())
    return f"{url}{'&' if '?' in url else '?'}{added}"


@asynccontextmanager
async def lent(url: str) -> AsyncGenerator[Backend, None]:
    """Lend the adapter for a URL, opened, without any layer."""
    store = connect(BackendURL.parse(url))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def prepared(url: str) -> AsyncGenerator[Backend, None]:
    """Lend the adapter for a URL, opened, with one note in its collection."""
    async with lent(url) as store:
        await store.execute(Ensure((NOTES,)))
        await add(store, "first")
        yield store


async def add(store: Backend, text: str) -> UUID:
    """Add a note and return its id."""
    made = note(text)
    await store.execute(Insert(NOTES, (made,)))
    identity = made["id"]
    assert isinstance(identity, UUID)
    return identity


async def has(store: Backend, identity: UUID) -> bool:
    """Tell whether a note is there."""
    (found,) = await store.execute(Get(NOTES, (identity,)))
    return found is not None


async def count(store: Backend) -> int:
    """Count the notes."""
    return await store.execute(CountDocuments(NOTES))


@contextmanager
def within(seconds: float) -> Generator[None]:
    """Fail if the block takes longer than that, and the margin, of the time that the loop had."""
    with turning() as clock:
        try:
            yield
        finally:
            spent = clock.now()
            allowed = f"allowed were {seconds} + {MARGIN}"
            assert spent <= seconds + MARGIN, f"took {spent:.2f} s, {allowed}"
