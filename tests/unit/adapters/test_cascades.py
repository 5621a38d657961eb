"""What a cascade costs: statements of a SQL database, documents that memory looks at."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from healthstore.adapters.memory import MemoryAdapter
from healthstore.build import build_guard
from healthstore.model import evaluate
from healthstore.model.ops import CountDocuments, Delete, Ensure, Insert
from healthstore.model.query import Filter
from healthstore.model.values import Document
from healthstore.testing.contract._samples import family, identity, ids, member
from healthstore.testing.contract.references import TREE
from healthstore.testing.plugin import EmptyBackend

_SENDING = ("begin", "commit", "execute", "fetch", "insert_rows", "run", "update_rows")


@dataclass
class Noting:
    """A connection that notes which statements go over it."""

    inner: Any
    sent: list[str]

    def __getattr__(self, name: str) -> Any:
        given = getattr(self.inner, name)
        if name not in _SENDING:
            return given

        async def send(*values: object, **options: object) -> object:
            self.sent.append(str(values[0] if values else name))
            return await given(*values, **options)

        return send


@pytest.mark.parametrize("name", ["sqlite", "postgresql", "mysql", "mariadb"])
async def test_ten_thousand_children_go_in_twenty_statements(
    name: str, healthstore_empty: EmptyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids travel by thousands: beginning and committing included, twenty statements are enough."""
    parents, children, _ = family("cascade")
    sent: list[str] = []
    async with healthstore_empty(name) as backend:
        adapter: Any = getattr(backend, "inner", backend)
        dial = adapter.dial

        async def noted() -> Noting:
            return Noting(await dial(), sent)

        store = build_guard(backend)
        await store.execute(Ensure((parents, children)))
        parent = member(parents)
        await store.execute(Insert(parents, (parent,)))
        await store.execute(
            Insert(children, tuple(member(children, parent["id"]) for _ in range(10_000)))
        )
        await backend.close()
        monkeypatch.setattr(adapter, "dial", noted)
        await backend.open()
        assert await store.execute(CountDocuments(children)) == 10_000
        sent.clear()
        assert await store.execute(Delete(parents, ids([parent]))) == (True,)
        assert len(sent) <= 20, "\n".join(each[:100] for each in sent)
        assert await store.execute(CountDocuments(children)) == 0


_SHAPES = {
    "a chain": lambda number: number - 1,
    "one parent's": lambda _: 0,
    "a tree": lambda number: (number - 1) // 2,
}


@pytest.mark.parametrize("shape", _SHAPES)
async def test_memory_looks_at_each_document_a_few_times(
    shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cascade is linear, however it is shaped and whatever stays; others have turns meanwhile."""
    looked = turns = 0
    matches = evaluate.matches

    def counting(where: Filter) -> evaluate.Predicate:
        holds = matches(where)

        def count(document: Document) -> bool:
            nonlocal looked
            looked += 1
            return holds(document)

        return count

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    size, parent_of = 2_000, _SHAPES[shape]
    rows = [
        member(TREE, identity(root + parent_of(at)) if at else None, id=identity(root + at))
        for root in (0, size)
        for at in range(size)
    ]
    adapter = MemoryAdapter()
    await adapter.open()
    store = build_guard(adapter)
    await store.execute(Ensure((TREE,)))
    await store.execute(Insert(TREE, tuple(rows)))
    monkeypatch.setattr(evaluate, "matches", counting)
    other = asyncio.create_task(take_turns())
    assert await store.execute(Delete(TREE, (identity(0),))) == (True,)
    other.cancel()
    assert looked <= 20 * size
    assert turns >= 3
    assert await store.execute(CountDocuments(TREE)) == size
    await adapter.close()
