"""A field that may be null is added on MongoDB without a write: documents lack it, as they are stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.faults.breaking import lent
from tests.faults.conftest import NewDatabase

from healthstore.abc import Backend
from healthstore.adapters.mongo.adapter import MongoAdapter
from healthstore.adapters.mongo.codec import Codec
from healthstore.adapters.mongo.definition import required_by, validator
from healthstore.build import build_guard
from healthstore.errors import CheckError
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import Alter, Ensure, Find, Insert, Patch, Rename, Replace
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Index, Unique
from healthstore.model.values import Document, FieldType, Kind

STORES = ("mongodb", "mongodb-rs")
_TEXT = FieldType(Kind.TEXT, max_length=40)
_NUMBER = FieldType(Kind.INTEGER)
THINGS = Collection(
    "things",
    (Field("id", FieldType(Kind.UUID)), Field("version", _NUMBER), Field("name", _TEXT)),
    entity="Thing",
)
ROWS: list[Document] = [{"id": UUID(int=at), "version": 1, "name": f"n{at}"} for at in range(1, 4)]
NEW = (
    Field("phone", _TEXT, nullable=True),
    Field("weight", FieldType(Kind.DECIMAL, digits=6, places=2), nullable=True),
    Field("data", FieldType(Kind.JSON), nullable=True),
)
GROWN = replace(
    THINGS,
    fields=(*THINGS.fields, *NEW),
    uniques=(Unique("phone"),),
    indexes=(Index("-weight", "name"),),
    checks=(Check("heavy", F.weight > 0),),
)


async def raw(store: Backend, name: str = "things") -> list[dict[str, Any]]:
    """Return the documents as the server has them."""
    assert isinstance(store, MongoAdapter)
    return await store._database.driver[name].find({}, sort=[("_id", 1)]).to_list()


async def rule(store: Backend, name: str = "things") -> dict[str, Any]:
    """Return the validator that the server has."""
    assert isinstance(store, MongoAdapter)
    (found,) = await (
        await store._database.driver.list_collections(filter={"name": name})
    ).to_list()
    return dict(found["options"]["validator"])


async def prepared(store: Backend) -> list[dict[str, Any]]:
    """Make the collection, with documents; return these as the server has them."""
    guarded = build_guard(store)
    await guarded.execute(Ensure((THINGS,)))
    for row in ROWS:
        await guarded.execute(Insert(THINGS, (row,)))
    return await raw(store)


@pytest.mark.parametrize("store", STORES)
async def test_no_document_is_written_for_a_field_that_may_be_null(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """With a key, an index and a check over it; nor for its next default, its width or its name."""
    async with lent(store, new_database, tmp_path) as backend:
        was = await prepared(backend)
        guarded = build_guard(backend)
        assert await guarded.execute(Alter(THINGS, GROWN, ChangeEffect.NEEDS_DATA))
        assert await raw(backend) == was
        phone, *others = NEW
        wider = replace(phone, type=FieldType(Kind.TEXT, max_length=60), default="none")
        known = replace(GROWN, fields=(*THINGS.fields, wider, *others))
        assert await guarded.execute(Alter(GROWN, known))
        renamed = replace(
            known,
            fields=(*THINGS.fields, replace(wider, name="number"), *others),
            uniques=(Unique("number"),),
        )
        assert await guarded.execute(Rename(known, renamed))
        assert await raw(backend) == was
        found = await guarded.execute(Find(renamed))
        assert found == tuple({**row, "number": None, "weight": None, "data": None} for row in ROWS)


@pytest.mark.parametrize("store", STORES)
async def test_what_is_set_is_written_and_nothing_beside_it(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """A patch writes its fields, a replacement all of them; a check holds of what is there."""
    async with lent(store, new_database, tmp_path) as backend:
        was = await prepared(backend)
        guarded = build_guard(backend)
        assert await guarded.execute(Alter(THINGS, GROWN, ChangeEffect.NEEDS_DATA))
        ids = [UUID(int=at) for at in range(1, 4)]
        await guarded.execute(Patch(GROWN, (ids[0],), (("phone", "1"),)))
        with pytest.raises(CheckError):
            await guarded.execute(Patch(GROWN, (ids[1],), (("weight", -1),)))
        (found,) = await guarded.execute(Find(GROWN, F.id == ids[2]))
        assert await guarded.execute(Replace(GROWN, (found,))) == (True,)
        nulls = {"phone": None, "weight": None, "data": None}
        assert await raw(backend) == [{**was[0], "phone": "1"}, was[1], {**was[2], **nulls}]


@pytest.mark.parametrize("store", STORES)
async def test_a_default_is_written_and_null_is_not(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Of several new fields those that have a default are given to each document."""
    async with lent(store, new_database, tmp_path) as backend:
        was = await prepared(backend)
        mood = Field("mood", _TEXT, nullable=True, default="good")
        visits = Field("visits", _NUMBER, default=7)
        after = replace(THINGS, fields=(*THINGS.fields, *NEW, mood, visits))
        assert await build_guard(backend).execute(Alter(THINGS, after))
        assert await raw(backend) == [{**each, "mood": "good", "visits": 7} for each in was]
        required = required_by(await rule(backend))
        assert required == {"id", "version", "name", "mood", "visits"}


@pytest.mark.parametrize("store", STORES)
async def test_what_an_earlier_release_has_made_stays_until_it_is_altered(
    store: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """Its validator wants each field of each document, and each document has it."""
    async with lent(store, new_database, tmp_path) as backend:
        assert isinstance(backend, MongoAdapter)
        guarded = build_guard(backend)
        made = replace(THINGS, fields=(*THINGS.fields, NEW[0]))
        await guarded.execute(Ensure((made,)))
        earlier = validator(Codec(made), made.names)
        await backend._database.driver.command("collMod", "things", validator=earlier)
        await guarded.execute(Insert(made, ({**ROWS[0], "phone": None},)))
        assert (await guarded.execute(Ensure((made,)))).present == ("things",)
        assert await rule(backend) == earlier
        more = replace(made, fields=(*made.fields, NEW[1]))
        assert await guarded.execute(Alter(made, more))
        assert await rule(backend) == validator(Codec(more))
        assert required_by(await rule(backend)) == {"id", "version", "name"}
        assert await guarded.execute(Find(more)) == ({**ROWS[0], "phone": None, "weight": None},)
