"""Indexes of the elements of lists: what is kept and used, and what stays true of every answer."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import ConfigurationError
from healthstore.model.change import ChangeEffect, changes_between
from healthstore.model.ops import (
    Alter,
    CountDocuments,
    Delete,
    Drop,
    Ensure,
    ExplainFind,
    Find,
    Get,
    Insert,
    Patch,
    RefreshStatistics,
    Rename,
)
from healthstore.model.query import F, Filter
from healthstore.model.schema import Collection, Field, Index, Unique
from healthstore.model.values import Document, FieldType, Json, Kind, Value
from healthstore.testing.contract._altered import LABEL, definition_of, prepare, row_of, things
from healthstore.testing.contract._promises import Contract, needs_alterations, partly_needs
from healthstore.testing.contract._samples import add, identity, ids, selected, stored
from healthstore.testing.contract._structured import LISTS, SCALARS

__all__ = ("TestListIndexes",)

TAGS = Field("tags", FieldType(Kind.JSON), nullable=True)
DATA = Field("data", FieldType(Kind.JSON), nullable=True)
NAME = Field("name", LABEL)
BY_TAGS = Index("tags")
_FACES = tuple(chr(0x1F600 + at) for at in range(60))
# Lists that an index has no room for, or hardly: of many, of long and of wide elements.
_LONG: tuple[Json, ...] = (
    ["x" * 64],
    ["x" * 65, "a"],
    ["\U0001f600" * 64, "a"],
    ["\U0001f600" * 65],
    ["a", "x" * 10_000],
    [f"tag {at}" for at in range(2_000)],
    ["a", *(face * 64 for face in _FACES)],
    [*_FACES, "a"],
    ["?"],
    ["a" * 500, "?"],
    ["a", "q" * 300, "b"],
)
_SOUGHT: tuple[Json, ...] = (
    *("a", "b", "A", "a ", "", "\U0001f600", _FACES[7], _FACES[7] * 64, "tag 1999", "?", "1"),
    *("x" * 64, "x" * 65, "x" * 10_000, 'q"t', "\\", 1, 1.0, True, 2**53 + 1, 5e-324, "missing"),
)
_COUNT = 2_000  # enough for each planner to prefer an index


def _rows(collection: Collection) -> list[Document]:
    lists = (*LISTS, *_LONG, *SCALARS)
    names = {each.name for each in collection.fields} - {"id", "version"}
    return [row_of(at, **dict.fromkeys(names, cast(Value, tags))) for at, tags in enumerate(lists)]


def _filters() -> list[Filter]:
    found: list[Filter] = [F.tags.has(each) for each in _SOUGHT]
    found += [F.tags.has_any(["a", "?"]), F.tags.has_any(["b", 1]), F.tags.has_any([1, True])]
    found += [
        F.tags.has_all(["a", "b"]),
        F.tags.has_all(["a", 1]),
        F.tags.has_any([]),
        F.tags.has_all([]),
        F.tags.size() > 1,
    ]
    return [*found, *(~each for each in found), F.tags["a"] == "a"]


class TestListIndexes(Contract):
    """An index of a list's elements makes their tests faster, and no answer another one."""

    async def test_an_index_of_a_list_changes_no_answer(self, store: Backend) -> None:
        """Whatever the lists hold, and whatever is no list, is found as Python finds it."""
        made = things(TAGS, DATA, indexes=(BY_TAGS, Index("data")))
        rows = _rows(made)
        await add(store, made, *rows)
        for where in _filters():
            wanted = ids(selected(rows, where))
            assert ids(await store.execute(Find(made, where, limit=1_000))) == wanted, where
            assert await store.execute(CountDocuments(made, where)) == len(wanted)

    async def test_no_list_is_too_long_for_its_index(self, store: Backend) -> None:
        """Not four of them in one document, when it is added, changed, and changed back."""
        fields = [Field(f"l{at}", FieldType(Kind.JSON)) for at in range(4)]
        made = things(*fields, indexes=tuple(Index(each.name) for each in fields))
        await store.execute(Ensure((made,)))
        full: list[object] = [
            *([face * 16 for face in _FACES[at:][:7]] for at in range(0, 40, 7)),
            *([f"{at:03}" for at in range(start, start + 84)] for start in (0, 300)),
            ["\x7f" * 64] * 7,
            *_LONG,
        ]
        for at, value in enumerate(full):
            names = [each.name for each in fields]
            row = row_of(at, **dict.fromkeys(names, cast(Value, value)))
            await store.execute(Insert(made, (row,)))
            for now in (full[at - 1], [], value):
                changes = tuple((name, cast(Value, now)) for name in names)
                await store.execute(Patch(made, (identity(at),), changes))
            (found,) = await store.execute(Get(made, (identity(at),)))
            assert found is not None
            assert found["l3"] == value
        assert await store.execute(CountDocuments(made, F.l2.has("a"))) >= 4

    @partly_needs("element_indexes")
    @pytest.mark.parametrize("nullable", (True, False))
    async def test_an_index_of_a_list_is_used(self, store: Backend, *, nullable: bool) -> None:
        """For an element, one of several and all of several; or the backend declares none."""
        made = things(NAME, replace(TAGS, nullable=nullable), indexes=(BY_TAGS,))
        await store.execute(Ensure((made,)))
        rows = tuple(
            row_of(at, name=f"n{at}", tags=[f"t{at * 7 % _COUNT}", "all", f"u{at // 2}"])
            for at in range(_COUNT)
        )
        await store.execute(Insert(made, rows, atomic=store.capabilities.transactions))
        await store.execute(RefreshStatistics(made))
        for where in (
            F.tags.has("t77"),
            F.tags.has_any(["t77", "t99", "none"]),
            F.tags.has_all(["t77", "all"]),
            F.tags.has("u77") & (F.name != "n154"),
        ):
            find = Find(made, where, limit=1_000)
            assert ids(await store.execute(find)) == ids(selected(rows, where))
            plan = await store.execute(ExplainFind(find))
            used = plan.index == made.index_name(BY_TAGS)
            assert used is store.capabilities.element_indexes, f"{where}: {plan.native}"
        plan = await store.execute(ExplainFind(Find(made, F.tags.size() > 5, limit=1_000)))
        assert plan.index != made.index_name(BY_TAGS)

    @needs_alterations
    async def test_an_index_of_a_list_comes_and_goes(self, store: Backend) -> None:
        """Adding and dropping it are additive changes, which keep every document."""
        before = things(TAGS, DATA)
        rows = _rows(before)
        await store.execute(Ensure((before,)))
        await store.execute(Insert(before, tuple(rows), atomic=store.capabilities.transactions))
        after = replace(before, indexes=(BY_TAGS,))
        (change,) = changes_between(before, after)
        assert "tags" in str(change)
        assert before.fingerprint != after.fingerprint
        part = replace(before, indexes=(Index("tags", where=F.version > 0),))
        for was, now in ((before, after), (after, before), (before, part)):
            assert await store.execute(Alter(was, now))
            assert await definition_of(store, now.name) == now
            assert await stored(store, now) == rows
            for where in (F.tags.has("a"), F.tags.has_any(["b", "tag 1"])):
                found = await store.execute(Find(now, where, limit=1_000))
                assert ids(found) == ids(selected(rows, where))
        await store.execute(Drop(part))
        assert (await store.execute(Ensure((after,)))).created == (after.name,)

    @needs_alterations
    async def test_a_field_of_an_indexed_list_changes_and_goes(self, store: Backend) -> None:
        """It may become one that is never None, and leave together with its index."""
        before = things(NAME, TAGS, indexes=(BY_TAGS,))
        rows = [row_of(at, name="n", tags=[f"t{at}"]) for at in range(5)]
        await prepare(store, before, *rows)
        required = things(NAME, replace(TAGS, nullable=False), indexes=(BY_TAGS,), name=before.name)
        assert await store.execute(Alter(before, required, ChangeEffect.NEEDS_DATA))
        assert ids(await store.execute(Find(required, F.tags.has("t3")))) == (rows[3]["id"],)
        gone = things(NAME, name=before.name)
        assert await store.execute(Alter(required, gone, ChangeEffect.LOSES_DATA))
        assert await store.execute(Alter(gone, before))
        assert await store.execute(CountDocuments(before, F.tags.has("t3"))) == 0
        assert (await store.execute(Ensure((before,)))).present == (before.name,)

    @needs_alterations
    async def test_an_indexed_list_is_renamed(self, store: Backend) -> None:
        """The field, and then the collection: its elements are found as before."""
        before = things(NAME, TAGS, indexes=(BY_TAGS, Index("name")))
        rows = [row_of(at, name="n", tags=[f"t{at % 3}", "all"]) for at in range(6)]
        await prepare(store, before, *rows)
        labels = things(
            NAME,
            replace(TAGS, name="labels"),
            indexes=(Index("labels"), Index("name")),
            name=before.name,
        )
        other = replace(labels, name=f"{before.name}_b", entity="")
        for was, now in ((before, labels), (labels, other)):
            assert await store.execute(Rename(was, now))
            found = await store.execute(Find(now, F.labels.has("t1")))
            assert ids(found) == (rows[1]["id"], rows[4]["id"])
            assert (await store.execute(Ensure((now,)))).present == (now.name,)
        await store.execute(Delete(other, (identity(1),)))
        assert await store.execute(CountDocuments(other, F.labels.has_any(["t1"]))) == 1

    async def test_an_index_of_a_list_that_none_can_keep_is_refused(self, store: Backend) -> None:
        """With other keys, a direction, as a unique key, and of more than four lists."""
        del store
        for index in (Index("tags", "name"), Index("name", "tags"), Index("-tags")):
            with pytest.raises(ConfigurationError, match="one key, and no direction") as caught:
                things(NAME, TAGS, indexes=(index,))
            assert caught.value.field == "tags"
        with pytest.raises(ConfigurationError, match="cannot be indexed"):
            things(TAGS, uniques=(Unique("tags"),))
        lists = [Field(f"l{at}", FieldType(Kind.JSON)) for at in range(5)]
        with pytest.raises(ConfigurationError, match="at most 4"):
            things(*lists, indexes=tuple(Index(each.name) for each in lists))
