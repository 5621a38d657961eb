"""Indexes of a part of the documents: what is kept, and what stays true of every answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from healthstore.abc import Backend
from healthstore.errors import ConfigurationError, UnknownFieldError
from healthstore.model.change import changes_between
from healthstore.model.ops import Alter, CountDocuments, Ensure, Find, Patch, Rename
from healthstore.model.query import F, Filter
from healthstore.model.schema import Field, Index
from healthstore.model.values import FieldType, Kind
from healthstore.testing.contract._altered import (
    LABEL,
    NUMBER,
    decimal_of,
    definition_of,
    enum_of,
    prepare,
    row_of,
    things,
)
from healthstore.testing.contract._promises import Contract, needs_alterations
from healthstore.testing.contract._samples import identity, stored

__all__ = ("TestPartialIndexes",)

STATUS = Field("status", LABEL, nullable=True)
COUNT = Field("count", NUMBER)
# One of each kind of part: what MongoDB can say, and what it cannot.
PARTS: tuple[Filter, ...] = (
    F.status == "ACTIVE",
    F.status == "it's \\ ü",
    F.status.not_null(),
    F.status.is_null(),
    F.status != "ACTIVE",
    ~(F.count > 5),
    (F.status == "ACTIVE") & (F.count > 0),
    (F.status == "ACTIVE") | (F.count > 5),
    F.status.in_(["ACTIVE", "NEW", None]),
    F.status.startswith("A"),
    F.status.contains("C"),
)
ROWS = [
    row_of(number, status=status, count=number)
    for number, status in enumerate(("ACTIVE", "NEW", None, "ACTIVE", "it's \\ ü", "", "ACT"))
]


class TestPartialIndexes(Contract):
    """An index of a part makes some requests faster, and no answer another one."""

    @pytest.mark.parametrize("part", PARTS, ids=range(len(PARTS)))
    async def test_an_index_of_a_part_changes_no_answer(self, store: Backend, part: Filter) -> None:
        """What lies within, beyond and across the part is found, counted and changed as without it."""
        made = things(
            STATUS, COUNT, indexes=(Index("count", where=part), Index("-status", "count"))
        )
        plain = things(STATUS, COUNT)
        await prepare(store, made, *ROWS)
        await prepare(store, plain, *ROWS)
        for where in (part, ~part, part & (F.count >= 2), F.count >= 2, F.status == "ACTIVE"):
            found = await store.execute(Find(made, where))
            assert found == await store.execute(Find(plain, where))
            assert await store.execute(CountDocuments(made, where)) == len(found)
        await store.execute(Patch(made, (identity(0),), (("status", "NEW"),)))
        assert len(await stored(store, made)) == len(ROWS)
        assert (await store.execute(Ensure((made,)))).present == (made.name,)

    async def test_indexes_of_one_key_and_several_parts_stand_side_by_side(
        self, store: Backend
    ) -> None:
        """They are told apart by their parts, in their names and in the catalog."""
        made = things(
            STATUS,
            COUNT,
            indexes=(
                Index("count"),
                Index("count", where=F.status == "ACTIVE"),
                Index("count", where=F.status == "NEW"),
                Index("count", where=F.status.contains("A")),
                Index("count", where=F.status.contains("B")),
            ),
        )
        await prepare(store, made, *ROWS)
        assert len(made.index_names) == 5
        assert await definition_of(store, made.name) == made
        assert (await store.execute(Ensure((made,)))).present == (made.name,)
        assert await store.execute(CountDocuments(made, F.count >= 0)) == len(ROWS)

    async def test_a_part_may_be_of_any_kind_that_a_filter_compares(self, store: Backend) -> None:
        """Constants of decimals, enums, floats, bools, instants and UUIDs stand in the index."""
        fields = (
            Field("d", decimal_of(12), nullable=True),
            Field("e", enum_of("a", "b"), nullable=True),
            Field("f", FieldType(Kind.FLOAT), nullable=True),
            Field("b", FieldType(Kind.BOOLEAN)),
            Field("t", FieldType(Kind.DATE), nullable=True),
        )
        where = (F.b == True) & (F.f > 0.5) & (F.e == "a") & (F.d > 0) & (F.t.not_null())  # noqa: E712 - a filter
        made = things(*fields, indexes=(Index("f", where=where),))
        row = row_of(1, d=None, e="a", f=1.0, b=True, t=None)
        await prepare(store, made, row)
        assert await stored(store, made) == [row]

    @needs_alterations
    async def test_an_index_of_a_part_comes_and_goes(self, store: Backend) -> None:
        """Adding, changing and dropping it are additive changes, which keep every document."""
        before = things(STATUS, COUNT)
        await prepare(store, before, *ROWS)
        one = replace(before, indexes=(Index("count", where=F.status == "ACTIVE"),))
        other = replace(before, indexes=(Index("count", where=F.status == "NEW"),))
        for was, now in ((before, one), (one, other), (other, before)):
            assert await store.execute(Alter(was, now))
            assert not changes_between(await definition_of(store, now.name), now)
            assert await stored(store, now) == ROWS
        assert "NEW" not in str(changes_between(one, other)[0])

    @needs_alterations
    async def test_a_field_of_a_part_is_renamed_in_it(self, store: Backend) -> None:
        """The part names the field by its new name, and its documents are found by it."""
        before = things(STATUS, COUNT, indexes=(Index("count", where=F.status == "ACTIVE"),))
        await prepare(store, before, *ROWS)
        state = replace(STATUS, name="state")
        after = replace(
            before,
            fields=(*before.fields[:2], state, COUNT),
            indexes=(Index("count", where=F.state == "ACTIVE"),),
        )
        assert await store.execute(Rename(before, after))
        assert await store.execute(CountDocuments(after, F.state == "ACTIVE")) == 2
        assert (await store.execute(Ensure((after,)))).present == (after.name,)

    async def test_a_part_that_is_none_is_refused(self, store: Backend) -> None:
        """Everything, nothing and what names no field are told where the entity is defined."""
        del store
        for part in (F.count.not_null(), F.count.in_([]), F.count.contains("a")):
            with pytest.raises(ConfigurationError, match="the part that an index of count holds"):
                things(STATUS, COUNT, indexes=(Index("count", where=part),))
        with pytest.raises(UnknownFieldError, match="size"):
            things(STATUS, COUNT, indexes=(Index("count", where=F.size == 1),))
