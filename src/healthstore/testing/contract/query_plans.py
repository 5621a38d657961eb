"""Plans of queries: which index a store uses, as it says itself, and never a value."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import (
    ConfigurationError,
    InvalidRequestError,
    LifecycleError,
    UnknownFieldError,
)
from healthstore.model.ops import (
    Batch,
    CountDocuments,
    Ensure,
    ExplainFind,
    Find,
    Insert,
    RefreshStatistics,
)
from healthstore.model.plans import PRIMARY, QueryPlan
from healthstore.model.query import F, Filter, Lookup, Order, parse_order
from healthstore.model.schema import Field, Index, Unique
from healthstore.model.values import Document, FieldType, Kind
from healthstore.testing.contract._altered import row_of, things
from healthstore.testing.contract._promises import Contract, needs_transactions

__all__ = ("TestQueryPlans",)

_BY_OWNER = Index("owner", "-taken")
_BY_RANK = Index("rank", "id")
_BY_CODE = Unique("code")
VISITS = things(
    Field("owner", FieldType(Kind.UUID)),
    Field("taken", FieldType(Kind.DATETIME)),
    Field("rank", FieldType(Kind.INTEGER)),
    Field("code", FieldType(Kind.TEXT, max_length=40)),
    Field("note", FieldType(Kind.TEXT, max_length=100), nullable=True),
    Field("weight", FieldType(Kind.DECIMAL, digits=12, places=4)),
    name="contract_plans",
    indexes=(_BY_OWNER, _BY_RANK),
    uniques=(_BY_CODE,),
)
_COUNT = 1_500  # enough for each planner to prefer an index
_FEW = 60
_OWNERS = tuple(UUID(int=2**120 + at) for at in range(60))
_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_SECRETS = ("zebra", "31337", "4711", "Quagga", f"{_OWNERS[7]}", _OWNERS[7].hex, "2026-01-01")


def _visit(at: int) -> Document:
    return row_of(
        at,
        owner=_OWNERS[at % len(_OWNERS)],
        taken=_SINCE + timedelta(minutes=at),
        rank=at * 7 % _COUNT,
        code=f"code-{at}",
        note=None,
        weight=VISITS.operands["weight"](at),
    )


async def _filled(store: Backend, count: int = _FEW) -> None:
    await store.execute(Ensure((VISITS,)))
    rows = tuple(map(_visit, range(count)))
    await store.execute(Insert(VISITS, rows, atomic=store.capabilities.transactions))
    await store.execute(RefreshStatistics(VISITS))


async def _explained(
    store: Backend, where: Filter, order: tuple[str | Order, ...] = (), limit: int = 10
) -> QueryPlan:
    return await store.execute(ExplainFind(Find(VISITS, where, parse_order(order), limit)))


class TestQueryPlans(Contract):
    """A plan says how the store would answer, and which index of ours it uses."""

    async def test_a_declared_index_is_used(self, store: Backend) -> None:
        """For equality, a range behind it, an order of its keys and a unique key; or it scans."""
        await _filled(store, _COUNT)
        owner, since = F.owner == _OWNERS[7], F.taken > _SINCE + timedelta(minutes=1_400)
        for where, order, declared in (
            (owner, ("-taken",), _BY_OWNER),
            (owner & since, ("-taken",), _BY_OWNER),
            (F.rank == 4_711 % _COUNT, (), _BY_RANK),
            (F.rank.between(5, 8), (), _BY_RANK),
            (F.rank < 5, ("rank",), _BY_RANK),
            (F.code == "code-1234", (), _BY_CODE),
            (F.code.in_(["code-1", "code-2"]), (), _BY_CODE),
        ):
            plan = await _explained(store, where, order)
            used = plan.index == VISITS.index_name(declared)
            assert used or self._has_none(plan), f"{where} {order}: {plan.native}"
            assert plan.rows is None or plan.rows < _COUNT or not used

    def _has_none(self, plan: QueryPlan) -> bool:
        """Tell whether the plan is of a store that has no planner."""
        return plan.native in {"", "every document, then sorted", "a walk by id"}

    async def test_an_order_is_read_from_an_index_or_sorted(self, store: Backend) -> None:
        """A page in the order of an index walks it, or the plan says that all is sorted."""
        await _filled(store, _COUNT)
        plan = await _explained(store, F.weight > -1, ("rank",))
        assert plan.sort is not (plan.index == VISITS.index_name(_BY_RANK))
        plan = await _explained(store, F.weight > -1, ("-weight",))
        assert plan.index is None
        assert plan.sort is not False

    async def test_what_has_no_index_reads_everything(self, store: Backend) -> None:
        """The plan says so, names no index of ours, and believes in about all the rows."""
        await _filled(store)
        plan = await _explained(store, F.weight > 5, ("-weight",))
        assert plan.index is None
        assert plan.scan is not False
        assert plan.sort is not False
        assert plan.rows is None or plan.rows > 0

    async def test_ids_are_found_by_the_key(self, store: Backend) -> None:
        """Its index has one name everywhere."""
        await _filled(store, 500)
        plan = await _explained(store, F.id == _visit(17)["id"])
        assert plan.index == PRIMARY or not plan.native
        assert plan.rows is None or 0 <= plan.rows <= 500

    async def test_no_plan_shows_a_value(self, store: Backend) -> None:
        """Not of any kind of test, in the statement or in what the store said."""
        await _filled(store)
        secret = F.code == "zebra"
        for where in (
            secret,
            ~secret & (F.note != "Quagga"),
            F.code.in_(["zebra", "Quagga"]),
            F.code.in_([f"zebra{at}" for at in range(100)]),
            F.code.contains("zebra") | F.code.startswith("zebra") | F.code.endswith("Quagga"),
            F.code.matches("[a-z]*zebra"),
            F.code == "it's a \"zebra\" of `4711` \\\\' or 31337",
            F.code == "$zebra",
            (F.rank == 31_337) | (F.rank > 4_711) | (F.rank == -31_337),
            (F.weight == VISITS.operands["weight"](4_711)) | (F.weight < -31_337),
            F.owner == _OWNERS[7],
            F.owner.in_(_OWNERS),
            F.id.in_(Lookup(VISITS, (F.code == "zebra") | (F.rank < 31_337), "id")),
            F.taken >= _SINCE,
            (F.owner == _OWNERS[7]) & (F.taken <= F.taken) & (F.rank == 4_711),
        ):
            for order in (("-taken", "rank"), (Order("note", nulls="last"),), ()):
                plan = await _explained(store, where, order)
                for word in _SECRETS:
                    assert word not in plan.statement, where
                    assert word not in plan.native, (where, plan.native)

    async def test_the_statement_is_that_of_the_query(self, store: Backend) -> None:
        """One for all values, another for another filter or order; nothing is read or changed."""
        await _filled(store)
        one = await _explained(store, F.rank == 1, ("rank",))
        assert (await _explained(store, F.rank == 2, ("rank",))).statement == one.statement
        assert "rank" in one.statement
        others = [
            await _explained(store, F.rank > 1, ("rank",)),
            await _explained(store, F.rank == 1, ("-rank",)),
            await _explained(store, F.code == "x", ("rank",)),
        ]
        assert one.statement not in {each.statement for each in others}
        assert await store.execute(CountDocuments(VISITS)) == _FEW

    async def test_what_find_refuses_is_refused(self, store: Backend) -> None:
        """Before any I/O: an unknown field, a limit, what is no query; and a missing collection."""
        await _filled(store)
        with pytest.raises(UnknownFieldError):
            await _explained(store, F.rnak == 1)
        with pytest.raises(UnknownFieldError):
            await _explained(store, F.rank == 1, ("rnak",))
        for limit in (0, -1, 10_002, cast(Any, "5")):
            with pytest.raises(InvalidRequestError):
                await _explained(store, F.rank == 1, (), limit)
        with pytest.raises(InvalidRequestError):
            await store.execute(ExplainFind(cast(Any, CountDocuments(VISITS))))
        with pytest.raises(InvalidRequestError, match="columns"):
            await store.execute(ExplainFind(Find(VISITS, columns=("rank",))))
        absent = replace(VISITS, name=f"made_{uuid4().hex[:12]}")
        for op in (ExplainFind(Find(absent)),):
            with pytest.raises(ConfigurationError):
                await store.execute(op)

    async def test_statistics_are_renewed_or_there_are_none(self, store: Backend) -> None:
        """As often as one asks; what is stored stays, and plans follow."""
        await _filled(store)
        told = await store.execute(RefreshStatistics(VISITS))
        assert await store.execute(RefreshStatistics(VISITS)) is told
        assert await store.execute(CountDocuments(VISITS)) == _FEW
        plan = await _explained(store, F.owner == _OWNERS[7])
        assert plan.rows is None or plan.rows > 0

    @needs_transactions
    async def test_a_unit_explains_and_renews_nothing(self, store: Backend) -> None:
        """Inside a unit a query is explained; statistics are renewed outside, and no batch has it."""
        await _filled(store)
        unit = await store.begin()
        try:
            find = Find(VISITS, F.code == "code-7", limit=5)
            outside = await store.execute(ExplainFind(find))
            assert await unit.execute(ExplainFind(find)) == outside
            with pytest.raises(LifecycleError, match="statistics"):
                await unit.execute(RefreshStatistics(VISITS))
            assert len(await unit.execute(find)) == 1
        finally:
            await unit.rollback()
        for op in (ExplainFind(find), RefreshStatistics(VISITS)):
            with pytest.raises(InvalidRequestError, match="batch"):
                await store.execute(Batch((cast(Any, op),)))
