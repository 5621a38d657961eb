"""Collections that refer to each other, on SQL databases: a crash between their tables."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from healthstore.errors import ForeignKeyError, HealthstoreError
from healthstore.model.ops import Ensure, Insert
from healthstore.model.schema import Collection, Field, Reference
from healthstore.model.values import Document, FieldType, Kind
from healthstore.testing.plugin import EmptyBackend


def _linked(name: str, other: str, *, nullable: bool) -> Collection:
    """Return a collection whose documents refer to those of another one."""
    fields = (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("other", FieldType(Kind.UUID), nullable),
    )
    return Collection(name, fields, references=(Reference("other", other),))


@pytest.mark.parametrize("name", ["sqlite", "postgresql", "mysql", "mariadb"])
async def test_the_next_call_completes_a_half_made_circle(
    name: str, healthstore_empty: EmptyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process ends when the first table is made, still without its foreign key."""
    one, two = (f"made_{uuid4().hex[:12]}" for _ in range(2))
    first, second = _linked(one, two, nullable=True), _linked(two, one, nullable=False)
    async with healthstore_empty(name) as store:
        adapter: Any = getattr(store, "inner", store)
        create = adapter.create

        async def crash(session: object, collection: Collection) -> None:
            if collection == second:
                raise OSError
            await create(session, collection)

        with monkeypatch.context() as crashing:
            crashing.setattr(adapter, "create", crash)
            with pytest.raises(HealthstoreError):
                await store.execute(Ensure((first, second)))
        await store.execute(Ensure((first, second)))
        dangling: Document = {"id": uuid4(), "version": 1, "other": uuid4()}
        with pytest.raises(ForeignKeyError) as error:
            await store.execute(Insert(first, (dangling,)))
        assert error.value.field == "other"
