"""A rename is cut short: asked again, it is as if nothing had been, and no name serves half of it."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from tests.faults.breaking import Breaks, lent, watched
from tests.faults.conftest import NewDatabase
from tests.faults.test_alter import KILLED, before, rows

from healthstore.abc import Backend
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.build import build_guard
from healthstore.errors import HealthstoreError, Outcome, SchemaMismatchError
from healthstore.model.catalog import CATALOG, catalog_id, from_definition
from healthstore.model.change import RenameCollection, RenameField, changed
from healthstore.model.ops import Ensure, Find, Get, Insert, Rename
from healthstore.model.query import F
from healthstore.model.schema import Collection
from healthstore.model.values import Document

_NAMES = {"price": "cost", "level": "stage", "boss": "chief", "name": "label"}


def renamed(made: Collection, *, collection: bool) -> Collection:
    """Return the definition with other names of the collection, or of four of its fields."""
    state = {made.name: made}
    if collection:
        return changed(state, [RenameCollection(made.name, f"{made.name}_now")])[f"{made.name}_now"]
    renames = [RenameField(made.name, one, other) for one, other in _NAMES.items()]
    return changed(state, renames)[made.name]


def wanted_rows(made: Collection) -> list[Document]:
    """Return the documents as they are to be, by the names of a definition."""
    names = dict(zip(before("x", referring=False).names, made.names, strict=True))
    return [{names[name]: value for name, value in row.items()} for row in rows()]


@pytest.mark.parametrize("what", ["fields", "collection"])
@pytest.mark.parametrize("store", KILLED)
async def test_what_is_broken_before_any_step_is_completed_by_asking_again(
    store: str,
    what: str,
    new_database: NewDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until then the old names serve as before, or nobody; afterwards the new ones do."""
    async with lent(store, new_database, tmp_path) as backend:
        breaks = Breaks()
        watched(monkeypatch, backend, breaks)
        if isinstance(backend, SqlAdapter):
            await backend.writers.drop_idle()  # what was opened before breaks nowhere
        guarded = build_guard(backend)
        step = 0
        while await _broken_at(guarded, breaks, step, collection=what == "collection"):
            step += 1
        assert step > 2, "a rename has several steps"


async def _broken_at(store: Backend, breaks: Breaks, step: int, *, collection: bool) -> bool:
    """Rename in a collection of its own, broken at a step; return whether there was such a step."""
    made = before(f"things_{step}", referring=store.capabilities.references)
    wanted = renamed(made, collection=collection)
    await store.execute(Ensure((made,)))
    for row in rows():
        await store.execute(Insert(made, (row,)))
    breaks.left = step
    broken: HealthstoreError | None = None
    try:
        await store.execute(Rename(made, wanted))
    except HealthstoreError as error:
        broken = error
    breaks.left = None
    if broken and not await _is_there(store, wanted):
        if await _serves(store, made):
            assert await store.execute(Find(made)) == tuple(rows())
        assert await store.execute(Rename(made, wanted))
    elif broken:
        assert broken.outcome is Outcome.UNKNOWN  # the lock was not given back
    assert await store.execute(Find(wanted)) == tuple(wanted_rows(wanted))
    assert not await store.execute(Rename(made, wanted))
    again = {**wanted_rows(wanted)[0], "id": UUID(int=101)}
    with pytest.raises(HealthstoreError):
        await store.execute(Insert(wanted, (again,)))
    label = wanted.names[2]
    assert await store.execute(Find(wanted, F[label] == "n3")) == (wanted_rows(wanted)[2],)
    return broken is not None


async def _is_there(store: Backend, wanted: Collection) -> bool:
    rows = await store.execute(Get(CATALOG, (catalog_id(wanted.name),)))
    return any(row and from_definition(row["definition"]) == wanted for row in rows)


async def _serves(store: Backend, made: Collection) -> bool:
    """Return whether a program of the old names is let in."""
    try:
        await store.execute(Ensure((made,)))
    except SchemaMismatchError:
        return False
    return True
