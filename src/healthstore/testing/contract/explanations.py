"""Explanations: what a store would do to change a definition is told, and not done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from healthstore.abc import Backend
from healthstore.errors import InvalidRequestError
from healthstore.model.change import ChangeEffect, RenameCollection, RenameField, changed
from healthstore.model.ops import Alter, Batch, Drop, Ensure, Explain, Find, Get, Rename
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Index, Unique
from healthstore.model.values import FieldType, Kind
from healthstore.testing.contract._altered import (
    NAME,
    NUMBER,
    definition_of,
    enum_of,
    prepare,
    row_of,
    text_of,
    things,
)
from healthstore.testing.contract._promises import Contract, needs_alterations, needs_transactions
from healthstore.testing.contract._samples import EVERYTHING, identity, stored

__all__ = ("TestExplanations",)

ALL = ChangeEffect.LOSES_DATA
CANARY = "canary of Ann"


def _before() -> Collection:
    """Return a definition with a part of each kind."""
    return things(
        NAME,
        Field("rank", NUMBER),
        Field("mood", enum_of("bad", "good"), nullable=True),
        uniques=(Unique("name"),),
        indexes=(Index("-rank"),),
        checks=(Check("small", F.rank < 10),),
    )


def _after(made: Collection) -> Collection:
    """Return what that definition may become."""
    return replace(
        made,
        fields=(
            *made.fields[:2],
            Field("name", text_of(200), nullable=True),
            Field("mood", enum_of("bad", "good", "best"), nullable=True),
            Field("visits", NUMBER, default=7),
        ),
        uniques=(),
        indexes=(Index("visits", "mood"),),
        checks=(Check("few", F.visits < 100),),
    )


class TestExplanations(Contract):
    """Asking what would be done does nothing."""

    @needs_alterations
    async def test_nothing_is_changed(self, store: Backend) -> None:
        """Whatever is explained: definition and documents are as before, and nothing new is there."""
        made = _before()
        rows = [
            row_of(number, name=f"{CANARY} {number}", rank=number, mood="good") for number in (1, 2)
        ]
        await prepare(store, made, *rows)
        state = changed({made.name: made}, [RenameField(made.name, "rank", "place")])
        moved = changed(state, [RenameCollection(made.name, f"{made.name}_now")])
        other = things(NAME)
        for change in (
            Ensure((other,)),
            Alter(made, _after(made), ALL),
            Rename(made, moved[f"{made.name}_now"]),
            Drop(made),
        ):
            told = await store.execute(Explain(change))
            assert all(each.strip() for each in told.statements)
            assert CANARY not in " ".join(told.statements)
            if told.seconds_per_row is not None:
                assert told.seconds_per_row > 0 or not told.rewrites
            assert await store.execute(Explain(change)) == told
        assert await definition_of(store, made.name) == made
        assert await stored(store, made) == rows
        assert (await store.execute(Ensure((other, made)))).created == (other.name,)
        # What was explained can still be done.
        assert await store.execute(Alter(made, _after(made), ALL))
        assert [each["visits"] for each in await stored(store, _after(made))] == [7, 7]

    @needs_alterations
    async def test_equal_definitions_need_nothing(self, store: Backend) -> None:
        """Neither does another order of fields, or another default, which is in the catalog only."""
        made = things(*EVERYTHING.fields[2:], NAME, Field("rank", NUMBER, default=1))
        turned = replace(made, fields=(*made.fields[:2], *reversed(made.fields[2:])))
        rank = Field("rank", NUMBER, default=2)
        other = replace(made, fields=(*made.fields[:-1], rank))
        for wanted in (made, turned, other):
            told = await store.execute(Explain(Alter(made, wanted)))
            assert (told.statements, told.rewrites) == ((), False)
            assert not told.seconds_per_row

    @needs_alterations
    async def test_an_index_rewrites_nothing(self, store: Backend) -> None:
        """One that is added, or dropped, leaves rows as they are; so does a collection that is new."""
        made = things(NAME, Field("rank", NUMBER))
        indexed = replace(made, indexes=(Index("-rank"),))
        for change in (Ensure((indexed,)), Alter(made, indexed), Alter(indexed, made)):
            told = await store.execute(Explain(change))
            assert not told.rewrites

    @needs_alterations
    async def test_what_no_store_would_do_is_not_explained(self, store: Backend) -> None:
        """An explanation is refused where the change would be, and of what is no change."""
        made = things(NAME)
        field = Field("other", FieldType(Kind.INTEGER), nullable=True)
        wanted = replace(made, fields=(*made.fields, field))
        with pytest.raises(InvalidRequestError, match="another name"):
            await store.execute(Explain(Alter(made, replace(wanted, name=f"{made.name}_now"))))
        with pytest.raises(InvalidRequestError, match="more than names"):
            await store.execute(Explain(Rename(made, wanted)))
        with pytest.raises(InvalidRequestError, match="changes no definition"):
            await store.execute(Explain(Find(made)))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as who is mistaken

    @needs_alterations
    @needs_transactions
    async def test_it_is_no_part_of_a_batch(self, store: Backend) -> None:
        """It is asked by itself, or in a unit; in that it sees what the definitions say, too."""
        made = things(NAME)
        await prepare(store, made)
        wanted = replace(made, indexes=(Index("name"),))
        explain = Explain(Alter(made, wanted))
        with pytest.raises(InvalidRequestError, match="cannot be part of a batch"):
            await store.execute(Batch((Get(made, (identity(1),)), explain)))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # as above
        unit = await store.begin()
        try:
            assert await unit.execute(explain) == await store.execute(explain)
        finally:
            await unit.rollback()
