"""Old and new code at once: a store that has gone on serves who knows it by what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    CheckError,
    ConfigurationError,
    DuplicateKeyError,
    SchemaMismatchError,
    StaleVersionError,
)
from healthstore.layers.catalog import CatalogLayer
from healthstore.layers.guard import GuardLayer
from healthstore.model.catalog import CATALOG, catalog_id, closing, opened, to_closing
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import (
    Aggregate,
    Alter,
    Batch,
    Count,
    CountDocuments,
    Delete,
    Ensure,
    Find,
    Get,
    Insert,
    Patch,
    Replace,
    Sum,
)
from healthstore.model.query import F, parse_order
from healthstore.model.schema import Check, Collection, Field, Index, Unique
from healthstore.model.values import Document, Value
from healthstore.testing.contract._altered import (
    LABEL,
    NAME,
    NUMBER,
    enum_of,
    prepare,
    row_of,
    text_of,
    things,
)
from healthstore.testing.contract._promises import (
    Contract,
    needs_alterations,
    needs_transactions,
)
from healthstore.testing.contract._samples import identity, stored

__all__ = ("TestServing",)

_NEW: dict[str, Value] = {"count": 7, "note": None}


def _before() -> Collection:
    return things(
        NAME,
        Field("rank", NUMBER, nullable=True),
        Field("mood", enum_of("bad", "good"), nullable=True),
        uniques=(Unique("name"),),
        indexes=(Index("rank"),),
        checks=(Check("small", F.rank < 10),),
    )


def _after(before: Collection) -> Collection:
    return replace(
        before,
        fields=(
            *before.fields[:2],
            Field("name", text_of(80)),
            *before.fields[3:],
            Field("count", NUMBER, default=7),
            Field("note", LABEL, nullable=True),
        ),
        indexes=(Index("count", "-name"),),
        checks=(),
    )


def _program(store: Backend) -> Backend:
    """Return a program of its own on a store: what it knows of the catalog is its own."""
    return GuardLayer(CatalogLayer(store))


def _values(number: int, rank: int | None = 1) -> dict[str, Value]:
    return {"name": f"n{number}", "rank": rank, "mood": "good"}


async def _mark(store: Backend, name: str, change: Callable[[Document], Document]) -> None:
    """Change a collection's row in the catalog."""
    (row,) = await store.execute(Get(CATALOG, (catalog_id(name),)))
    assert row is not None
    assert await store.execute(Replace(CATALOG, (change(row),))) == (True,)


class TestServing(Contract):
    """What the old program writes has what is new, and what it does not know stays."""

    @needs_alterations
    @pytest.mark.parametrize("knows", [True, False], ids=["running", "started"])
    async def test_an_old_program_reads_and_writes(self, store: Backend, knows: bool) -> None:  # noqa: FBT001 - a parameter of the test
        """It sees what it knows; the new one sees defaults, and finds by them, in what it added."""
        before, old = _before(), _program(store)
        after = _after(before)
        first, second = row_of(1, **_values(1)), row_of(2, **_values(2))
        await prepare(old if knows else store, before, first)
        assert await store.execute(Alter(before, after))
        assert await old.execute(Insert(before, (second,))) == 1
        assert (await old.execute(Ensure((before,)))).present == (before.name,)
        assert await old.execute(Get(before, (identity(1), identity(2)))) == (first, second)
        assert await old.execute(Find(before, F.rank == 1, parse_order(["-name"]))) == (
            second,
            first,
        )
        assert await old.execute(CountDocuments(before, F.name == "n2")) == 1
        (sums,) = await old.execute(Aggregate(before, (Count(), Sum("rank"))))
        assert list(sums.values) == [2, 2]
        assert await stored(store, after) == [{**first, **_NEW}, {**second, **_NEW}]
        assert await store.execute(CountDocuments(after, F.count == 7)) == 2
        with pytest.raises(DuplicateKeyError):
            await old.execute(Insert(before, (row_of(3, **_values(2)),)))
        assert await old.execute(Delete(before, (identity(2),))) == (True,)
        assert await old.execute(Delete(before, (identity(9),))) == (False,)

    @needs_alterations
    @pytest.mark.parametrize("knows", [True, False], ids=["running", "started"])
    async def test_what_it_does_not_know_stays(self, store: Backend, knows: bool) -> None:  # noqa: FBT001 - a parameter of the test
        """Replaced or changed by it, a document keeps what the new program has written."""
        before, old = _before(), _program(store)
        after = _after(before)
        first = row_of(1, **_values(1))
        await prepare(old if knows else store, before, first)
        assert await store.execute(Alter(before, after))
        noted: tuple[tuple[str, Value], ...] = (("count", 12), ("note", "kept"))
        await store.execute(Patch(after, (identity(1),), sets=(*noted, ("version", 2))))
        kept: Document = dict(noted)
        (patched,) = await old.execute(
            Patch(before, (identity(1),), sets=(("rank", 5), ("version", 3)), versions=(2,))
        )
        assert patched == {**first, "rank": 5, "version": 3}
        assert await stored(store, after) == [{**first, "rank": 5, "version": 3, **kept}]
        other = {**first, "rank": 6, "version": 4}
        assert await old.execute(Replace(before, (other,), (3,))) == (True,)
        assert await stored(store, after) == [{**other, **kept}]
        with pytest.raises(StaleVersionError):
            await old.execute(Replace(before, ({**first, "rank": 8, "version": 4},), (3,)))
        another = {**first, "rank": 9, "version": 5}
        assert await old.execute(Replace(before, (another,))) == (True,)
        absent = row_of(9, **_values(9))
        assert await old.execute(Replace(before, (absent,))) == (False,)
        assert await stored(store, after) == [{**another, **kept}]

    @needs_alterations
    @needs_transactions
    async def test_in_units_and_batches_too(self, store: Backend) -> None:
        """All or nothing, by what the program knows."""
        before, old = _before(), _program(store)
        after = _after(before)
        await prepare(old, before, row_of(1, **_values(1)))
        assert await store.execute(Alter(before, after))
        await store.execute(Patch(after, (identity(1),), sets=(("note", "kept"),)))
        changed = {**row_of(1, **_values(1)), "rank": 3, "version": 2}
        results = await old.execute(
            Batch(
                (
                    Insert(before, (row_of(2, **_values(2)),)),
                    Replace(before, (changed,), (1,)),
                    Patch(before, (identity(2),), sets=(("rank", None),)),
                    Find(before),
                )
            )
        )
        second = {**row_of(2, **_values(2)), "rank": None}
        assert results == (1, (True,), (second,), (changed, second))
        unit = await old.begin()
        try:
            await unit.execute(Replace(before, ({**changed, "version": 3},)))
            await unit.execute(Insert(before, (row_of(3, **_values(3)),)))
            await unit.commit()
        finally:
            await unit.rollback()
        notes = [(each["note"], each["count"]) for each in await stored(store, after)]
        assert notes == [("kept", 7), (None, 7), (None, 7)]

    @needs_alterations
    async def test_one_program_may_know_several_definitions(self, store: Backend) -> None:
        """Each request is answered by the definition that it names, at once and in one batch."""
        before, program = _before(), _program(store)
        after = _after(before)
        await prepare(program, before, row_of(1, **_values(1)))
        assert await store.execute(Alter(before, after))
        old = row_of(1, **_values(1))
        ids = (identity(1),)
        for _ in range(5):
            found = await asyncio.gather(
                *(program.execute(Get(each, ids)) for each in (before, after, before, after))
            )
            assert found == [(old,), ({**old, **_NEW},)] * 2
        if store.capabilities.transactions:
            together = Batch((Get(after, ids), Get(before, ids), Find(after)))
            new = {**old, **_NEW}
            assert await program.execute(together) == ((new,), (old,), (new,))

    @needs_alterations
    async def test_both_write_at_once(self, store: Backend) -> None:
        """Neither loses what the other one writes to the same documents."""
        before, old = _before(), _program(store)
        after = _after(before)
        await prepare(old, before, *(row_of(at, **_values(at, 0)) for at in range(1, 4)))
        assert await store.execute(Alter(before, after))

        async def write(program: Backend, known: Collection, field: str) -> None:
            for turn in range(1, 16):
                await program.execute(
                    Patch(known, (identity(turn % 3 + 1),), increments=((field, 1), ("version", 1)))
                )

        async def replaced() -> None:
            for turn in range(12):
                while True:
                    (row,) = await old.execute(Get(before, (identity(turn % 3 + 1),)))
                    assert row is not None
                    version = row["version"]
                    assert isinstance(version, int)
                    op = Replace(
                        before, ({**row, "mood": "bad", "version": version + 1},), (version,)
                    )
                    try:
                        await old.execute(op)
                    except StaleVersionError:
                        continue
                    break

        await store.execute(Patch(after, (identity(1),), sets=(("mood", None),)))
        await asyncio.gather(write(old, before, "rank"), write(store, after, "count"), replaced())
        found = await stored(store, after)
        assert [each["rank"] for each in found] == [5, 5, 5]
        assert [each["count"] for each in found] == [12, 12, 12]
        assert [each["mood"] for each in found] == ["bad"] * 3

    @needs_alterations
    async def test_what_it_could_not_read_refuses_it(self, store: Backend) -> None:
        """A new member, a null, a field that is gone or another key: the error says what differs."""
        before = _before()
        name, rank, mood = before.fields[2:]
        others = {
            "mood": (name, rank, replace(mood, type=enum_of("bad", "fair", "good"))),
            "name": (replace(name, nullable=True), rank, mood),
            "unique": before.fields[2:],
            "rank": (name, mood),
        }
        for what, fields in others.items():
            made = replace(before, name=things().name)
            old = _program(store)
            await prepare(old, made)
            bare = what == "rank"
            after = replace(
                made,
                fields=(*made.fields[:2], *fields),
                uniques=() if what == "unique" else made.uniques,
                indexes=() if bare else made.indexes,
                checks=() if bare else made.checks,
            )
            assert await store.execute(Alter(made, after, ChangeEffect.LOSES_DATA))
            for program in (_program(store), old):
                with pytest.raises(SchemaMismatchError, match=what):
                    await program.execute(Ensure((made,)))
            with pytest.raises(SchemaMismatchError, match=what):
                await _program(store).execute(Find(made))

    @needs_alterations
    async def test_a_collection_that_closes_serves_whom_it_serves_afterwards(
        self, store: Backend
    ) -> None:
        """Others are refused, also who begins; when it opens again, all are served."""
        before = _before()
        after = _after(before)
        await prepare(store, after, {**row_of(1, **_values(1)), **_NEW})
        lesser = replace(after, fields=after.fields[:-1])  # without the note
        programs = {before: _program(store), lesser: _program(store), after: _program(store)}
        for known, program in programs.items():
            assert len(await program.execute(Find(known))) == 1
        for target, admitted in ((lesser, {before, lesser}), (None, set[Collection]())):
            await _mark(store, after.name, partial(to_closing, after=target))
            for known, program in programs.items():
                # As a check does, when it finds another row.
                cast(CatalogLayer, cast(GuardLayer, program).inner).forget()
                for each in (program, _program(store)):
                    if known in admitted:
                        assert len(await each.execute(Find(known))) == 1
                        continue
                    for op in (Find(known), Ensure((known,)), Delete(known, (identity(1),))):
                        with pytest.raises(SchemaMismatchError, match="no more"):
                            await each.execute(op)
        await _mark(store, after.name, opened)
        for known, program in programs.items():
            assert len(await program.execute(Find(known))) == 1
        assert await store.execute(Alter(after, replace(after, indexes=())))

    @needs_alterations
    async def test_an_alteration_opens_what_was_closed(self, store: Backend) -> None:
        """Its row in the catalog is that of the new definition, and of nothing else."""
        before = _before()
        after = _after(before)
        await prepare(store, before)
        await _mark(store, after.name, lambda row: to_closing(row, after))
        assert await store.execute(Alter(before, after))
        (row,) = await store.execute(Get(CATALOG, (catalog_id(after.name),)))
        assert row is not None
        assert closing(row) is None

    @needs_alterations
    async def test_a_new_program_does_not_use_an_old_store(self, store: Backend) -> None:
        """It could keep nothing of what is new: it is told to evolve."""
        before, new = _before(), _program(store)
        after = _after(before)
        await prepare(store, before)
        for op in (
            Ensure((after,)),
            Find(after),
            Insert(after, (row_of(1, **_values(1), **_NEW),)),
        ):
            with pytest.raises(ConfigurationError, match="field count is new"):
                await new.execute(op)
        with pytest.raises(CheckError):
            await _program(store).execute(Insert(before, (row_of(1, **_values(1, 10)),)))
