"""The contract in company: each request leaves together with those of other tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, ClassVar, TypeVar
from uuid import uuid4

import pytest
from tests.layers.company import AbleLayer

from healthstore.abc import Backend, BackendURL, Executor, Layer, Unit
from healthstore.layers.catalog import CatalogLayer
from healthstore.layers.coalesce import CoalesceLayer
from healthstore.layers.coalesce.joining import FORMS
from healthstore.layers.retry import RetryLayer
from healthstore.model.ops import Delete, Get, Insert, Op, Patch
from healthstore.testing.contract import ContractTests
from healthstore.testing.differential import Place, compare, draw_program
from healthstore.testing.plugin import EmptyBackend

R = TypeVar("R")

# Of 64 tasks, each with a request of its own; of what is sent again when it fails, fewer.
OTHERS = {Get: 63, Delete: 63, Insert: 5, Patch: 5}


class CrowdLayer(Layer):
    """Sends with each operation others like it, which find or change nothing."""

    rank: ClassVar[int] = 96

    async def execute(self, op: Op[R]) -> R:
        """Run the operation behind two others of its lane, and before many."""
        form = FORMS.get(type(op))
        joined = type(op) in self.capabilities.coalesced and form is not None and form.lane(op)
        # Others of one that goes by itself would be in its way, not in its company.
        alike = like(op) if joined else ()
        others = [asyncio.create_task(self.inner.execute(each)) for each in alike]
        try:
            if others:
                await asyncio.sleep(0)
            return await self.inner.execute(op)
        finally:
            await asyncio.gather(*others, return_exceptions=True)

    def over(self, unit: Unit) -> Executor:
        """Return the unit itself: it is used by one task."""
        return unit


def like(op: Op[Any]) -> Iterator[Op[Any]]:
    """Yield operations of the same lane that leave everything as it is."""
    for _ in range(OTHERS.get(type(op), 0)):
        if isinstance(op, Insert):
            one = {**op.documents[0], "id": uuid4()}
            yield replace(op, documents=(one, one))  # an id twice: refused
        else:
            assert isinstance(op, Delete | Get | Patch)
            yield replace(op, ids=(uuid4(),))


@pytest.mark.slow
class TestInCompany(ContractTests):
    @pytest.fixture(
        params=("memory", "sqlite", "postgresql", "mysql", "mariadb", "mongodb", "mongodb-rs")
    )
    async def backend(
        self, request: pytest.FixtureRequest, healthstore_empty: EmptyBackend
    ) -> AsyncIterator[Backend]:
        """Lend an opened, empty backend on which all that can be is sent together."""
        async with healthstore_empty(request.param) as backend:
            crowd = CrowdLayer(CatalogLayer(CoalesceLayer(AbleLayer(backend))))
            # As a member: of rivals for a key that are sent again, a database may end some.
            yield RetryLayer(crowd, attempts=20)


@pytest.mark.slow
async def test_the_differential_test_in_company() -> None:
    """Random programs have the same answers on memory and on SQLite, where nobody goes alone."""
    file = Place("sqlite", BackendURL.parse("sqlite:///any.db"), layers=(CrowdLayer,))
    for number in range(12):
        verdict = await compare(draw_program(20, number), file)
        assert verdict.difference is None
