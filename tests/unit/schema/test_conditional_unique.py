"""A unique key under a condition is planned, counted, written down and applied as others are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest

from healthstore import DatabaseManager, Entity, F, MaxLength, Unique
from healthstore.entity import collection_of
from healthstore.errors import DuplicateKeyError, InvalidRequestError, SchemaChangeError
from healthstore.model.catalog import differences, from_definition
from healthstore.model.change import CreateCollection, changes_between
from healthstore.model.description import definition
from healthstore.schema.written import written

URLS = ("memory://", "sqlite:///{}/store.db")


class State(StrEnum):
    """Whether an account is in use."""

    ACTIVE = "active"
    CLOSED = "closed"


class Before(Entity, collection="accounts"):
    """Accounts with any address."""

    email: Annotated[str, MaxLength(60)]
    state: State = State.ACTIVE


ACTIVE = F.state == State.ACTIVE


class After(Entity, collection="accounts", indexes=[Unique("email", where=ACTIVE)]):
    """Accounts of which those in use have an address each."""

    email: Annotated[str, MaxLength(60)]
    state: State = State.ACTIVE


def _revise(folder: Path) -> None:
    changes = changes_between(collection_of(Before), collection_of(After))
    text = written("one in use", "0001_accounts", changes)
    (folder / "0002_in_use.py").write_text(text)


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Return an opened manager of a store with an address twice, of which one is in use."""
    async with DatabaseManager(request.param.format(tmp_path)) as manager:
        made = CreateCollection(collection_of(Before))
        (tmp_path / "0001_accounts.py").write_text(written("accounts", None, [made]))
        await manager.schema.upgrade(directory=tmp_path)
        await manager.initialize(Before)
        await manager.repository(Before).add(Before(email="a"))
        await manager.repository(Before).add(Before(email="a", state=State.CLOSED))
        yield manager


async def test_what_its_condition_leaves_out_does_not_stand_against_it(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """A revision is written with the condition, and applies; the plan counts nobody."""
    plan = await db.schema.plan(After)
    (change,) = plan.operations
    assert "unique key (email) where state = ?" in str(change)
    assert not change.against
    _revise(tmp_path)
    await db.schema.upgrade(directory=tmp_path)
    await db.initialize(After)
    with pytest.raises(DuplicateKeyError):
        await db.repository(After).add(After(email="a"))
    await db.repository(After).add(After(email="a", state=State.CLOSED))
    with pytest.raises(InvalidRequestError, match="no unique key"):
        await db.repository(After).upsert(After(email="a"), on="email")


async def test_who_stands_against_it_is_counted(db: DatabaseManager, tmp_path: Path) -> None:
    """Two in use of one address refuse the migration before anything is changed."""
    await db.repository(Before).add(Before(email="a"))
    (change,) = (await db.schema.plan(After)).operations
    assert change.against == 1
    _revise(tmp_path)
    with pytest.raises(SchemaChangeError, match="1 document"):
        await db.schema.upgrade(directory=tmp_path)


def test_a_definition_without_a_condition_is_written_down_as_it_was() -> None:
    """What is new in a definition is another word, which a program of before refuses."""
    plain = collection_of(Before)
    bound = collection_of(After)
    assert from_definition(definition(bound)) == bound
    (unique,) = definition(bound)["uniques"]  # type: ignore[misc]  # a list, as it is written
    assert set(unique) == {"unique", "ignore_case", "where"}  # type: ignore[arg-type]  # an object
    assert plain.fingerprint != bound.fingerprint
    assert differences(plain, bound) == ("unique key (email) where state = ? is new",)
