"""Latest: the last documents of each group, as Python finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.entity import Entity, MaxLength
from healthstore.errors import InvalidRequestError, UnknownFieldError
from healthstore.model.evaluate import matches
from healthstore.model.ops import CountDocuments, Ensure, Insert, Leading
from healthstore.model.query import ALL, F, Filter, Order
from healthstore.model.schema import Field, Index
from healthstore.model.values import SORTED_TEXT, Document, FieldType, Kind
from healthstore.repository import Repository
from healthstore.repository.latest import latest_of, require_few
from healthstore.testing.contract._altered import row_of, things
from healthstore.testing.contract._promises import Contract, laws, needs_transactions
from healthstore.testing.contract._samples import (
    EVERYTHING,
    add,
    add_entities,
    every_row,
    everything,
    exact,
    identity,
    ids,
)
from healthstore.testing.strategies import filters

__all__ = ("TestLatest",)

ROWS = every_row(60)
_GROUPED = ("flag", "level", "day", "label", "text", "price", "owner", "number", "ratio", "clock")
_RANKED = (*_GROUPED, "moment", "moment_ms", "span", "id", "version")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class _Metric(Entity, collection="contract_metrics"):
    user_id: UUID
    type: Annotated[str, MaxLength(20)]
    recorded_at: datetime | None = None
    value: float = 0.0


WALKED = things(
    Field("owner", FieldType(Kind.UUID)),
    Field("code", FieldType(Kind.TEXT, max_length=20)),
    Field("level", FieldType(Kind.INTEGER), nullable=True),
    Field("at", FieldType(Kind.DATETIME), nullable=True),
    Field("rank", FieldType(Kind.INTEGER)),
    name="contract_walked",
    indexes=(
        Index("owner", "code", "-at"),
        Index("code", "rank"),
        Index("level", "at"),
        Index("owner", "id"),
        Index("-rank", "at"),
        Index("rank", "code", "id", where=F.rank > 2),
    ),
)
"""Its indexes begin with what groups, and go on with what sorts."""
_WALKS = (
    (("owner", "code"), "at"),
    (("code", "owner"), "at"),
    (("code",), "rank"),
    (("level",), "at"),
    (("owner",), "id"),
    (("rank",), "at"),
    (("rank", "code"), "id"),
    (("owner",), "at"),
)
_WALKED_BY = (
    ALL,
    F.owner == identity(1),
    (F.code > "A") & (F.owner != identity(2)),
    F.code.in_(["a", "é", "Z"]) | (F.owner == identity(3)),
    F.code == "nobody's",
    F.rank > 1,
    F.at > datetime(2026, 1, 4, tzinfo=UTC),
    F.level.is_null(),
    ~F.code.startswith("a"),
)


class _Absent(Entity, collection="contract_absent"):
    name: str
    data: dict[str, object]


def _by(row: Document, name: str) -> tuple[Any, ...]:
    """Return the sort key of a value: None smallest, and of a text its head."""
    value = row[name]
    if isinstance(value, str):
        value = value[:SORTED_TEXT]
    return (0,) if value is None else (1, value)


def _pythons(rows: list[Document], per: Sequence[str], by: str, count: int) -> list[Document]:
    """Return the latest as a service would find them that has read everything."""

    def group(row: Document) -> tuple[tuple[Any, ...], ...]:
        return tuple((0,) if row[name] is None else (1, row[name]) for name in per)

    newest = sorted(rows, key=lambda row: (_by(row, by), row["id"]), reverse=True)
    groups = groupby(sorted(newest, key=group), key=group)
    return [row for _, members in groups for row in [*members][:count]]


def _latest(per: Sequence[str], by: str, count: int = 1, where: Filter = ALL) -> Leading:
    """Return the request that a repository makes of ``latest``."""
    last = (Order(by, descending=True), Order("id", descending=True))
    order = last[:1] if by == "id" else last
    return Leading(EVERYTHING, tuple(per), count, where, order, 10_000)


async def _filled(store: Backend) -> None:
    await store.execute(Ensure((EVERYTHING,)))
    if not await store.execute(CountDocuments(EVERYTHING)):
        await add(store, EVERYTHING, *ROWS)


class TestLatest(Contract):
    """The latest of each group are those of Python, in its order."""

    @laws
    @given(
        filters(EVERYTHING, ROWS),
        st.lists(st.sampled_from(_GROUPED), min_size=1, max_size=3, unique=True),
        st.sampled_from(_RANKED),
        st.integers(1, 4),
    )
    async def test_the_latest_are_those_of_python(
        self, store: Backend, where: Filter, per: list[str], by: str, count: int
    ) -> None:
        """For each filter, groups of each kind and nulls among them, by each kind with an order."""
        await _filled(store)
        found = await store.execute(_latest(per, by, count, where))
        rows = [*filter(matches(where), ROWS)]
        assert [*map(exact, found)] == [*map(exact, _pythons(rows, per, by, count))]

    async def test_the_greatest_id_is_the_last_of_equals(self, store: Backend) -> None:
        """Of equal instants the id decides; what has none is older than all that have one."""
        moments = (NOON, None, NOON, None, NOON)
        rows = [
            everything(id=identity(at * 3 % 5), moment=moment, flag=True)
            for at, moment in enumerate(moments)
        ]
        await add(store, EVERYTHING, *rows)
        found = await store.execute(_latest(["flag"], "moment", 5))
        assert ids(found) == tuple(identity(at) for at in (2, 1, 0, 4, 3))

    async def test_long_texts_are_grouped_whole_and_ranked_by_their_heads(
        self, store: Backend
    ) -> None:
        """Texts that agree in what is sorted are groups of their own, and on a level in the rank."""
        head = "x" * SORTED_TEXT
        texts = [head + end for end in ("b", "a", "", "b", "a", "c")] + [head[:-1], None, "", "y"]
        rows = [
            everything(id=identity(at * 7 % 31), text=text, number=at % 3, flag=at % 2 == 0)
            for at, text in enumerate([*texts, *texts])
        ]
        await add(store, EVERYTHING, *rows)
        for per, by in ((("text",), "number"), (("flag",), "text"), (("text", "flag"), "id")):
            for count in (1, 2):
                found = await store.execute(_latest(per, by, count))
                assert ids(found) == ids(_pythons(rows, per, by, count)), (per, by, count)

    async def test_latest_entities_of_a_repository(self, store: Backend) -> None:
        """Of each user and type the last two, of those that satisfy the filters."""
        metrics = Repository(_Metric, store)
        await store.execute(Ensure((metrics.collection,)))
        users = (identity(1), identity(2))
        rows = [
            _Metric(
                user_id=users[at % 2],
                type=("weight", "pulse")[at // 2 % 2],
                recorded_at=None if at % 7 == 3 else NOON.replace(day=1 + at * 5 % 28),
                value=float(at),
            )
            for at in range(20)
        ]
        await add_entities(metrics, store, rows)
        found = await metrics.latest(
            F.value > 2, per=["user_id", _Metric.type], by=F.recorded_at, n=2
        )
        wanted: list[_Metric] = []
        for user in users:
            for kind in ("pulse", "weight"):
                group = [
                    each
                    for each in rows
                    if (each.user_id, each.type) == (user, kind) and each.value > 2
                ]
                group.sort(
                    key=lambda each: (each.recorded_at or NOON.min.replace(tzinfo=UTC), each.id)
                )
                wanted += group[:-3:-1]
        assert found == wanted
        assert await metrics.latest(F.value > 99, per=["type"], by="recorded_at") == []

    async def test_an_index_of_the_groups_changes_no_answer(self, store: Backend) -> None:
        """Whatever tells groups and sorts their rows, nulls and equals among it, with any filter."""
        codes = ("a", "A", "ab", "Z", "é", "z\U0001f600", "")
        rows = [
            row_of(
                at * 37 % 401,
                owner=identity(at % 5),
                code=codes[at * 3 % 7],
                level=None if at % 4 == 0 else at % 3,
                at=None if at % 9 == 4 else NOON.replace(day=1 + at * at % 9),
                rank=at % 4,
            )
            for at in range(150)
        ]
        await add(store, WALKED, *rows)
        for per, by in _WALKS:
            for where in _WALKED_BY:
                wanted = [*filter(matches(where), rows)]
                for count in (1, 3):
                    op = replace(_latest(per, by, count, where), collection=WALKED)
                    found = await store.execute(op)
                    assert ids(found) == ids(_pythons(wanted, per, by, count)), (per, by, where)
                    few = await store.execute(replace(op, limit=4))
                    assert few == found[:4]

    @needs_transactions
    async def test_a_unit_finds_the_latest_that_it_has_written(self, store: Backend) -> None:
        """Inside of a unit its own writes are the latest."""
        await _filled(store)
        unit = await store.begin()
        late = everything(version=2, level="mid")
        await unit.execute(Insert(EVERYTHING, (late,)))
        found = await unit.execute(_latest(["level"], "version"))
        assert late["id"] in ids(found)
        await unit.rollback()
        found = await store.execute(_latest(["level"], "version"))
        assert late["id"] not in ids(found)

    async def test_more_than_are_returned_are_refused(self, store: Backend) -> None:
        """As many as the bound are returned, and of one more nothing, with what to do."""
        metrics = Repository(_Metric, store)
        await store.execute(Ensure((metrics.collection,)))
        rows = [_Metric(user_id=identity(at), type="a") for at in range(9)]
        await add_entities(metrics, store, rows)
        op = latest_of(_Metric, ALL, ["user_id"], "id", 1)
        for limit in (9, 10):
            bounded = replace(op, limit=limit)
            found = await store.execute(bounded)
            if limit == 10:
                require_few(bounded, found)
                assert len(found) == 9
                continue
            with pytest.raises(InvalidRequestError, match="more than 8 latest") as error:
                require_few(bounded, found)
            assert "narrow" in (error.value.hint or "")

    async def test_latest_without_meaning_is_refused(self, store: Backend) -> None:
        """No group, a field twice, one without order, no number: before any I/O."""
        absent = Repository(_Absent, store)  # its collection is not there: who asked would say so
        wrong: tuple[tuple[dict[str, Any], str], ...] = (
            ({"per": []}, "of no group"),
            ({"per": "name"}, "per is no list"),
            ({"per": ["name", "name"]}, "named twice"),
            ({"per": ["data"]}, "has no order"),
            ({"by": "data"}, "has no order"),
            ({"by": _Metric.value}, "another entity"),
            ({"n": 0}, "from 1 to 10000"),
            ({"n": 10_001}, "from 1 to 10000"),
            ({"n": True}, "from 1 to 10000"),
        )
        for options, message in wrong:
            asked: dict[str, Any] = {"per": ["name"], "by": "id", **options}
            with pytest.raises(InvalidRequestError, match=message) as error:
                await absent.latest(**asked)
            assert error.value.hint
        with pytest.raises(UnknownFieldError):
            await absent.latest(per=["nmae"], by="id")
        with pytest.raises(UnknownFieldError):
            await absent.latest(per=["name"], by="di")
