"""Emptying a member by the manager: meant, confirmed in production, and served again after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import pytest

from healthstore import DatabaseManager, Entity, Ref
from healthstore.errors import ConfigurationError, ForeignKeyError, InvalidRequestError

if TYPE_CHECKING:
    from pathlib import Path


class Person(Entity, collection="people"):
    """Somebody."""


class Note(Entity, collection="notes"):
    """What somebody wrote."""

    author: Annotated[UUID, Ref(Person)]


def pair(folder: Path, **options: str) -> DatabaseManager:
    """Return a manager of two files."""
    members = {name: f"sqlite:///{folder}/{name}.db" for name in ("old", "new")}
    return DatabaseManager(members=members, **options)  # type: ignore[arg-type] - profile only


async def fill(db: DatabaseManager) -> None:
    """Add two people with a note each."""
    await db.initialize(Person, Note)
    people = [Person(), Person()]
    await db.repository(Person).add_many(people)
    await db.repository(Note).add_many([Note(author=each.id) for each in people])


async def test_a_member_is_emptied_and_used_again(tmp_path: Path) -> None:
    """Some entities or all; children hold their parents."""
    async with pair(tmp_path) as db:
        await fill(db)
        with pytest.raises(ForeignKeyError, match="documents of notes refer"):
            await db.clear("old", [Person])
        assert (await db.clear("old", [Note])).rows == 2
        assert (await db.clear("old", confirm="old")).collections == {"people": 2, "notes": 0}
        await fill(db)
        assert await db.repository(Note).count() == 2


async def test_production_wants_the_name(tmp_path: Path) -> None:
    """A name that is not meant is refused in every profile."""
    async with pair(tmp_path) as db:
        await fill(db)
        await db.migrate("old", "new")
        with pytest.raises(InvalidRequestError, match="not confirmed"):
            await db.clear("old", confirm="new")
    async with pair(tmp_path, profile="production") as db:
        for call in (
            lambda: db.clear("old"),
            lambda: db.clear("old", confirm="new"),
            lambda: db.migrate("old", "new", replace=True),
            lambda: db.migrate("old", "new", replace=True, confirm="old"),
        ):
            with pytest.raises(InvalidRequestError, match="not confirmed") as caught:
                await call()
            assert "nothing was removed; if it is meant, say confirm=" in caught.value.hint
        assert (await db.verify("old", "new")).rows == 4
        assert (await db.migrate("old", "new", replace=True, confirm="new")).rows == 4
        assert (await db.clear("new", confirm="new")).rows == 4


async def test_a_member_does_not_replace_itself(tmp_path: Path) -> None:
    """Neither by its name nor by an unknown one; nothing is removed."""
    async with pair(tmp_path) as db:
        await fill(db)
        with pytest.raises(ConfigurationError, match="the same member"):
            await db.migrate("old", "old", replace=True)
        with pytest.raises(ConfigurationError, match="did you mean 'old'"):
            await db.clear("odl")
        assert await db.repository(Note).count() == 2
