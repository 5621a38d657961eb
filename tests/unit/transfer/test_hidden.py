"""What is kept beside a text is in no digest and no backup, and is written anew by each transfer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest

from healthstore import DatabaseManager, Entity, F, MaxLength, Search, Searchable, Unique
from healthstore.errors import DuplicateKeyError


class Person(Entity, collection="hidden_people", indexes=[Search("note")]):
    """A person who is found by name in any case, and by the words of a note."""

    name: Annotated[str, MaxLength(60), Searchable()]
    email: Annotated[str, MaxLength(60), Unique(ignore_case=True)] | None = None
    note: str | None = None


def _people() -> list[Person]:
    return [
        Person(name=f"Straße {at}", email=f"N{at}@x.org", note=f"noodle soup {at}")
        for at in range(300)
    ]


async def _is_whole(db: DatabaseManager) -> None:
    people = db.repository(Person)
    assert await people.count(F.name.startswith("STRASSE", ignore_case=True)) == 300
    page = await people.search("soup 17", limit=1)
    assert [each.name for each in page] == ["Straße 17"]
    with pytest.raises(DuplicateKeyError):
        await people.add(Person(name="x", email="n5@X.ORG"))


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/second.db"], ids=["memory", "sqlite"])
async def test_a_copy_and_a_restore_have_it_and_a_backup_has_not(url: str, tmp_path: Path) -> None:
    """The digests of all are equal, and in each one finds the same."""
    first, second = f"sqlite:///{tmp_path}/first.db", url.format(tmp_path)
    file = tmp_path / "backup.json"
    async with DatabaseManager(first) as db:
        await db.initialize(Person)
        await db.repository(Person).add_many(_people())
        await _is_whole(db)
        written = await db.backup(file)
    assert "_fold_" not in file.read_text()
    assert "_words_" not in file.read_text()
    async with DatabaseManager(second) as db:
        read = await db.restore(file)
        assert [each.digest for each in read.collections] == [
            each.digest for each in written.collections
        ]
        await db.initialize(Person)
        await _is_whole(db)
