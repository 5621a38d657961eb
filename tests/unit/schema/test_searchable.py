"""A field that is there becomes searchable by a migration, and stops being so by another one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import pytest

from healthstore import DatabaseManager, Entity, F, MaxLength, Search, Searchable, Unique
from healthstore.errors import DuplicateKeyError, SchemaChangeError, SchemaMismatchError
from healthstore.schema.files import read_chain
from healthstore.transfer.selection import catalog

URLS = ("memory://", "sqlite:///{}/store.db")
FILES = {
    "0001_people": '''
"""People whose names have their case."""
from healthstore.schema import CreateCollection, Instant, Migration, Text, collection

migration = Migration(operations=[
    CreateCollection(collection("people", {
        "created_at": Instant(), "updated_at": Instant(),
        "name": Text(60), "email": Text(60, nullable=True),
    })),
])
''',
    "0002_searchable": '''
"""They are found whatever it is."""
from healthstore.schema import AddUnique, ChangeField, Migration, Text, Unique

migration = Migration(after="0001_people", operations=[
    ChangeField("people", "name", Text(60, searchable=True)),
    ChangeField("people", "email", Text(60, searchable=True, nullable=True)),
    AddUnique("people", Unique("email", ignore_case=True)),
])
''',
}


class Searched(Entity, collection="people", indexes=[Search("name", "email")]):
    """People as a third one would."""

    name: Annotated[str, MaxLength(60)]
    email: Annotated[str, MaxLength(60)] | None = None


class Before(Entity, collection="people"):
    """People as the first migration made them."""

    name: Annotated[str, MaxLength(60)]
    email: Annotated[str, MaxLength(60)] | None = None


class After(Entity, collection="people"):
    """People as the second one did."""

    name: Annotated[str, MaxLength(60), Searchable()]
    email: Annotated[str, MaxLength(60), Unique(ignore_case=True)] | None = None


def _folder(path: Path) -> Path:
    for name, text in FILES.items():
        (path / f"{name}.py").write_text(text.lstrip())
    return path


@pytest.fixture(params=URLS, ids=["memory", "sqlite"])
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DatabaseManager]:
    """Return an opened manager of a store with people of the first migration."""
    async with DatabaseManager(request.param.format(tmp_path)) as manager:
        await manager.schema.upgrade("0001_people", directory=_folder(tmp_path))
        await manager.initialize(Before)
        await manager.repository(Before).add_many(
            [
                *(Before(name=f"Straße {at}", email=f"N{at}@x.org") for at in range(1_203)),
                Before(name="ODYSSEUS"),
            ]
        )
        yield manager


async def test_each_document_is_found_afterwards(db: DatabaseManager, tmp_path: Path) -> None:
    """Whatever it was before: each one is written once more, and its key holds."""
    await db.schema.upgrade(directory=tmp_path)
    store = await db.member(db.active)
    assert await catalog(store) == read_chain(tmp_path).state
    await db.initialize(After)
    people = db.repository(After)
    assert await people.count(F.name.startswith("STRASSE", ignore_case=True)) == 1_203
    assert await people.count(~F.name.contains("ss", ignore_case=True)) == 0
    found = await people.first(F.email.equals("n77@X.org", ignore_case=True))
    assert found is not None
    assert (found.name, found.version) == ("Straße 77", 2)
    with pytest.raises(DuplicateKeyError):
        await people.add(After(name="x", email="n5@x.ORG"))


async def test_it_goes_back(db: DatabaseManager, tmp_path: Path) -> None:
    """The folded texts go, the documents stay."""
    await db.schema.upgrade(directory=tmp_path)
    await db.schema.downgrade(directory=tmp_path)
    await db.initialize(Before)
    assert await db.repository(Before).count() == 1_204
    await db.repository(Before).add(Before(name="x", email="n5@x.ORG"))


async def test_what_is_the_same_in_another_case_stands_against_the_key(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """It is counted before anything is changed."""
    await db.repository(Before).add(Before(name="x", email="n5@x.ORG"))
    with pytest.raises(SchemaChangeError) as error:
        await db.schema.upgrade(directory=tmp_path)
    assert "add the unique key (email), ignoring case: 1 document" in error.value.message
    assert await db.repository(Before).count() == 1_205


async def test_a_text_whose_folded_form_is_too_long_stands_against_it(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """As one that is too long does."""
    await db.repository(Before).add(Before(name="\ufdfa" * 40))
    with pytest.raises(SchemaChangeError, match=r"field name.*searchable: 1 document"):
        await db.schema.upgrade(directory=tmp_path)


async def test_evolve_refuses_it(db: DatabaseManager) -> None:
    """A program that does not know it would leave it stale: that needs a migration."""
    with pytest.raises(SchemaMismatchError):
        await db.initialize(After)
    with pytest.raises(SchemaChangeError, match="searchable"):
        await db.schema.evolve(After)


async def test_what_is_searched_for_words_comes_by_a_migration(
    db: DatabaseManager, tmp_path: Path
) -> None:
    """Each document has the words of its texts afterwards."""
    with pytest.raises(SchemaChangeError, match="in words"):
        await db.schema.evolve(Searched)
    file = tmp_path / "0002_searchable.py"
    file.write_text(
        """
from healthstore.schema import ChangeField, Migration, Text

migration = Migration(after="0001_people", operations=[
    ChangeField("people", "name", Text(60, words=True)),
    ChangeField("people", "email", Text(60, words=True, nullable=True)),
])
"""
    )
    await db.schema.upgrade(directory=tmp_path)
    await db.initialize(Searched)
    people = db.repository(Searched)
    page = await people.search("N7 STRASSE x", limit=1_000)
    assert len(page) == 1_000
    assert page.items[0].email == "N7@x.org"
    rest = await people.search("N7 STRASSE x", limit=1_000, after=page.next)
    assert (len(rest), rest.next) == (203, None)
