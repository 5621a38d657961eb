"""The read-only layer over memory: what a writer below it stores is read exactly, and stays.

Most of the contract writes, so it cannot run through this layer; its reads are compared with
those of the backend below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend, UnitOptions
from healthstore.errors import ReadOnlyError
from healthstore.layers.guard import GuardLayer
from healthstore.layers.read_only import ReadOnlyLayer
from healthstore.model.ops import (
    Aggregate,
    Avg,
    Count,
    CountDocuments,
    Delete,
    Ensure,
    Find,
    Get,
    Insert,
    Op,
    Patch,
)
from healthstore.model.query import F, parse_order
from healthstore.testing.contract._samples import PEOPLE, person
from healthstore.testing.plugin import EmptyBackend

STORED = tuple(
    person(number, name=f"p{number % 3}", visits=number, team=None if number % 2 else "a")
    for number in range(12)
)
IDS = tuple(cast("UUID", each["id"]) for each in STORED)
READS: tuple[Op[Any], ...] = (
    Get(PEOPLE, (*IDS[:3], uuid4())),
    Find(PEOPLE, (F.visits > 3) & (F.team == None), parse_order(["-visits"]), 4),  # noqa: E711 - a filter
    CountDocuments(PEOPLE, ~(F.name == "p1")),
    Aggregate(PEOPLE, (Count(), Avg("visits")), group=("name",)),
)


@pytest.fixture
async def below(healthstore_empty: EmptyBackend) -> AsyncIterator[Backend]:
    """Lend a memory backend with a dozen documents."""
    async with healthstore_empty("memory") as backend:
        await backend.execute(Ensure((PEOPLE,)))
        await backend.execute(Insert(PEOPLE, STORED))
        yield backend


@pytest.mark.parametrize("op", READS, ids=lambda op: type(op).__name__.lower())
async def test_reads_are_those_of_the_backend(below: Backend, op: Op[Any]) -> None:
    """A read through the layer, alone or in a unit, gives what the backend itself gives."""
    expected = await GuardLayer(below).execute(op)
    layer = GuardLayer(ReadOnlyLayer(below))
    assert await layer.execute(op) == expected
    unit = await layer.begin(UnitOptions(read_only=True))
    assert await unit.execute(op) == expected
    await unit.commit()


async def test_refused_writes_leave_the_store_as_it_was(below: Backend) -> None:
    """After refusals, alone and in a unit, every document is as it was; others can still write."""
    layer = GuardLayer(ReadOnlyLayer(below))
    before = await below.execute(Get(PEOPLE, IDS))
    unit = await layer.begin(UnitOptions(read_only=True))
    for executor in (layer, unit):
        for op in (
            Insert(PEOPLE, (person(99),)),
            Patch(PEOPLE, IDS[:1], (("name", "x"),)),
            Delete(PEOPLE, IDS),
        ):
            with pytest.raises(ReadOnlyError):
                await executor.execute(cast("Op[Any]", op))
    await unit.rollback()
    assert await below.execute(Get(PEOPLE, IDS)) == before
    assert await below.execute(Delete(PEOPLE, IDS[:1])) == (True,)
    assert await layer.execute(CountDocuments(PEOPLE)) == len(STORED) - 1


async def test_what_the_layer_promises_is_what_the_backend_promises(below: Backend) -> None:
    """Name and capabilities are those of the backend."""
    layer = ReadOnlyLayer(below)
    assert (layer.name, layer.capabilities) == (below.name, below.capabilities)
    await layer.ping()
