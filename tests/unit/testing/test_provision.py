"""Provision: empty stores, and nothing of anybody else's is touched."""

from __future__ import annotations

import os
from pathlib import Path
from traceback import walk_tb

import asyncpg
import pytest

from healthstore import DatabaseManager, Entity
from healthstore.abc import BackendURL
from healthstore.abc.registry import BUILT_IN, connect
from healthstore.errors import ConfigurationError, UnavailableError
from healthstore.layers.guard import GuardLayer
from healthstore.model.catalog import CATALOG
from healthstore.model.filling import FILLING_ID, Filling
from healthstore.model.ops import CountDocuments, Ensure, Get, Insert
from healthstore.testing import provision
from healthstore.testing.contract._samples import PEOPLE, add, family, member, person
from healthstore.testing.plugin import EmptyBackend
from healthstore.testing.provision import (
    PROVISIONS,
    SERVERS,
    Databases,
    Lent,
    Provision,
    clear,
    disposable,
    server_url,
    text_of,
)


class Thing(Entity, collection="things"):
    number: int


def test_every_built_in_scheme_can_be_provisioned() -> None:
    """Each scheme of the registry has its functions, and each server's name a way to its URL."""
    assert set(PROVISIONS) == set(BUILT_IN)
    for name, variable in SERVERS.items():
        url = server_url(name, {str(variable): "postgresql://u@h/d"})
        assert url is not None
        assert (server_url(name, {}) is None) is (variable is not None)


def files(folder: Path) -> list[str]:
    """Return the names of the databases under a folder."""
    return [path.name for path in folder.rglob("*.db")]


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mariadb"])
async def test_a_server_that_is_down_is_an_error_of_ours(scheme: str) -> None:
    """It says what, where and what to do, without the driver's error, whose frames hold secrets."""
    secret = "c4n4ry-77231977"
    url = BackendURL.parse(f"{scheme}://me:{secret}@127.0.0.1:1/d")
    with pytest.raises(UnavailableError) as down:
        async with Databases().empty("mine", url):
            pass
    error = down.value
    assert f"{scheme}://me:***@127.0.0.1:1/d" in error.message
    assert "URL" in error.hint
    assert (error.__cause__, error.__context__) == (None, None)
    ours = [frame for frame, _ in walk_tb(error.__traceback__)][1:]  # the first is this test
    assert ours
    assert secret not in "".join(repr(frame.f_locals) for frame in ours)


@pytest.mark.parametrize("url", ["memory://", "sqlite:///test.db"])
async def test_every_test_gets_an_empty_store(url: str) -> None:
    """What one test leaves behind the next one does not find."""
    databases = Databases()
    for _ in range(2):
        async with databases.empty("mine", BackendURL.parse(url)) as backend:
            await add(GuardLayer(backend), PEOPLE, person(1))
    assert databases.used == {"mine"}


async def test_a_file_is_gone_when_its_test_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is left in the folder for temporary files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with Databases().empty("mine", BackendURL.parse("sqlite:///x.db")) as backend:
        await backend.ping()
        assert files(tmp_path) == ["test.db"]
    assert files(tmp_path) == []


async def test_clearing_removes_every_document() -> None:
    """Documents go, children before their parents; collections stay."""
    backend = connect(BackendURL.parse("memory://"))
    await backend.open()
    store = GuardLayer(backend)
    parents, children, _ = family("restrict")
    parent = member(parents)
    await add(store, parents, parent)
    await add(store, children, member(children, parent["id"]))
    await clear(backend)
    for collection in (parents, children):
        assert await store.execute(CountDocuments(collection)) == 0
    await backend.close()


async def test_a_store_that_cannot_enforce_references_is_emptied_all_the_same(
    healthstore_empty: EmptyBackend,
) -> None:
    """What a transfer brought there goes, with its mark, although the guard would refuse it."""
    parents, children, _ = family("restrict")
    mark = Filling.begun("migrate", "elsewhere", (parents.name, children.name))
    async with healthstore_empty("mongodb") as backend:
        parent = member(parents)
        await backend.execute(Ensure((parents, children)))
        await backend.execute(Insert(parents, (parent,)))
        child = Insert(children, (member(children, parent["id"]),), checked_references=False)
        await backend.execute(child)
        await backend.execute(Insert(CATALOG, (mark.as_row(),)))
        await clear(backend)
        for collection in (parents, children):
            assert await backend.execute(CountDocuments(collection)) == 0
        assert await backend.execute(Get(CATALOG, (FILLING_ID,))) == (None,)


async def test_the_first_error_is_the_one_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be dropped after a test that failed is a note to that failure."""

    async def drop(_: BackendURL) -> None:
        raise UnavailableError("the server has gone")

    lasting = Provision(PROVISIONS["memory"].create, drop, for_each_test=True)
    monkeypatch.setattr(provision, "PROVISIONS", {"memory": lasting})
    with pytest.raises(ZeroDivisionError) as first:
        async with Databases().empty("mine", BackendURL.parse("memory://")):
            raise ZeroDivisionError
    assert "the server has gone" in "".join(first.value.__notes__)
    with pytest.raises(UnavailableError):
        async with Databases().empty("mine", BackendURL.parse("memory://")):
            pass


async def test_a_store_of_another_scheme_is_never_overwritten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A URL without a database of its own must name an empty store."""
    monkeypatch.setattr(provision, "PROVISIONS", {})
    url = BackendURL.parse(f"sqlite:///{tmp_path}/mine.db")
    backend = connect(url)
    await backend.open()
    store = GuardLayer(backend)
    await add(store, PEOPLE, person(1))
    with pytest.raises(ConfigurationError) as refused:
        async with Databases().empty("mine", url):
            pass
    assert refused.value.hint
    assert await store.execute(CountDocuments(PEOPLE)) == 1
    await clear(backend)
    databases = Databases()
    for number in range(2):
        async with databases.empty("mine", url) as lent:
            await lent.execute(Insert(PEOPLE, (person(number),)))
    await backend.close()


@pytest.mark.parametrize(
    "text",
    [
        "memory:///",
        "sqlite:////srv/a b.db",
        "postgresql://hs:p%40s%2Fs%3Aw@127.0.0.1:5432/tests",
        "mysql+asyncmy://hs@[::1]:3306/tests?connect_timeout=2",
        "mongodb://a:1,b:2/tests?replicaSet=rs0&authSource=admin",
    ],
)
def test_a_lent_url_is_complete(text: str) -> None:
    """It has the secret and the options of the URL it was made from, and never shows them."""
    url = BackendURL.parse(text)
    assert BackendURL.parse(text_of(url)) == url
    assert "p%40s" not in repr(Lent(text_of(url)))


async def test_each_lent_store_is_empty() -> None:
    """What one manager writes the next one does not find, new database or emptied one."""
    databases = Databases()
    url = BackendURL.parse("sqlite:///x.db")
    places: set[str] = set()
    for _ in range(2):
        async with databases.lend("sqlite", url) as lent:
            places.add(lent.url)
            async with DatabaseManager(lent.url, layers=lent.layers) as db:
                await db.initialize(Thing)
                assert await db.repository(Thing).count() == 0
                await db.repository(Thing).add(Thing(number=1))
    assert len(places) == 2
    assert databases.used == {"sqlite"}


async def test_a_store_of_others_is_emptied_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a way to make a database the URL's own is used: it must be empty, and stays so."""
    path = tmp_path / "theirs.db"
    monkeypatch.setattr(provision, "PROVISIONS", {})
    monkeypatch.setattr(provision, "can_roll_back", lambda _: False)
    databases = Databases()
    url = BackendURL.parse(f"sqlite:///{path}")
    for _ in range(2):
        async with (
            databases.lend("theirs", url) as lent,
            DatabaseManager(lent.url, layers=lent.layers) as db,
        ):
            await db.initialize(Thing)
            assert await db.repository(Thing).count() == 0
            async with db.transaction() as tx:
                await tx.repository(Thing).add(Thing(number=1))
    async with DatabaseManager(lent.url) as db:
        await db.repository(Thing).add(Thing(number=2))
    with pytest.raises(ConfigurationError, match="holds documents"):
        async with Databases().lend("theirs", url):
            pass


POSTGRESQL = server_url("postgresql", os.environ)


@pytest.mark.skipif(POSTGRESQL is None, reason=f"postgresql is absent: set {SERVERS['postgresql']}")
async def test_a_database_is_dropped_although_somebody_uses_it() -> None:
    """A session of the same user that a test left open is ended, and the database goes."""
    assert POSTGRESQL is not None
    async with disposable(POSTGRESQL) as made:
        left = await asyncpg.connect(text_of(made), timeout=10)
    await left.close(timeout=10)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(text_of(made), timeout=10)
