"""The guard: what is refused never reaches the backend, what passes is in checked form."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings

from healthstore.abc import UnitOptions
from healthstore.errors import CapabilityError, HealthstoreError, InvalidRequestError
from healthstore.layers.guard import MAX_LIMIT, GuardLayer
from healthstore.model.ops import (
    Aggregate,
    Avg,
    Batch,
    Count,
    CountDocuments,
    Delete,
    Ensure,
    Find,
    Function,
    Get,
    Insert,
    Op,
    Patch,
    Replace,
    Sum,
)
from healthstore.model.query import ALL, NONE, And, F, Filter, Not, Operator, Or, Test, parse_order
from healthstore.testing.contract._samples import PEOPLE, family, identity, member, person
from healthstore.testing.strategies import filters

if TYPE_CHECKING:
    from .conftest import RecordingLayer

ANN = person(1)
WRONG: dict[str, Op[Any]] = {
    "no operation": cast("Op[Any]", object()),
    "a text as an id": Get(PEOPLE, cast("tuple[UUID, ...]", ("1",))),
    "too many ids": Get(PEOPLE, tuple(map(identity, range(10_001)))),
    "an id twice": Delete(PEOPLE, (identity(1), identity(1))),
    "a document without a field": Insert(PEOPLE, ({"id": uuid4(), "version": 1},)),
    "an unknown field": Insert(PEOPLE, ({**ANN, "nmae": 1},)),
    "a null": Insert(PEOPLE, ({**ANN, "email": None},)),
    "a wrong type": Replace(PEOPLE, ({**ANN, "visits": "1"},)),
    "fewer versions than documents": Replace(PEOPLE, (ANN,), ()),
    "a version that is no number": Delete(PEOPLE, (identity(1),), (cast(int, "1"),)),
    "a patch of nothing": Patch(PEOPLE, (identity(1),)),
    "a patch of the id": Patch(PEOPLE, (identity(1),), (("id", identity(2)),)),
    "an increment of text": Patch(PEOPLE, (identity(1),), (), (("name", 1),)),
    "an increment of null": Patch(PEOPLE, (identity(1),), (), (("visits", None),)),
    "an unknown field of a filter": Find(PEOPLE, F.nmae == 1),
    "an unknown field of an order": Find(PEOPLE, order=parse_order(["nmae"])),
    "no limit": Find(PEOPLE, limit=0),
    "too high a limit": Find(PEOPLE, limit=MAX_LIMIT + 1),
    "a limit that is true": Find(PEOPLE, limit=True),
    "a position of another order": Find(PEOPLE, after=(1, 2)),
    "a naive instant": CountDocuments(PEOPLE, F.profile == datetime(2026, 1, 1)),  # noqa: DTZ001 - refused
    "a filter that is none": CountDocuments(PEOPLE, cast(Filter, True)),  # noqa: FBT003 - refused
    "a filter in a filter that is none": CountDocuments(PEOPLE, And((cast(Filter, "x"),))),
    "an aggregate of nothing": Aggregate(PEOPLE, ()),
    "a sum of text": Aggregate(PEOPLE, (Sum("name"),)),
    "a group by JSON": Aggregate(PEOPLE, (Count(),), group=("profile",)),
    "a batch of nothing": Batch(()),
    "a batch in a batch": Batch((Batch((Get(PEOPLE, ()),)),)),
    "a wrong part of a batch": Batch((Get(PEOPLE, ()), Find(PEOPLE, limit=0))),
    "a collection twice": Ensure((PEOPLE, PEOPLE)),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_refused_never_reaches_the_backend(
    recording: RecordingLayer, case: str
) -> None:
    """A wrong request is an error of ours that says where and what to do, before any I/O."""
    with pytest.raises(HealthstoreError) as refused:
        await GuardLayer(recording).execute(WRONG[case])
    assert recording.seen == []
    assert refused.value.backend == "m"
    assert refused.value.hint


NEEDS_TRANSACTIONS: dict[str, Op[Any]] = {
    "insert": Insert(PEOPLE, (person(1), person(2))),
    "replace": Replace(PEOPLE, (person(1), person(2))),
    "patch": Patch(PEOPLE, (identity(1), identity(2)), (("visits", 1),)),
    "delete": Delete(PEOPLE, (identity(1), identity(2))),
    "batch": Batch((Get(PEOPLE, ()),)),
}


@pytest.mark.parametrize("case", NEEDS_TRANSACTIONS)
async def test_an_absent_capability_is_refused_before_any_io(
    recording: RecordingLayer, case: str
) -> None:
    """Writes of several documents need transactions; without them nothing is sent."""
    recording.narrowed = replace(recording.inner.capabilities, transactions=False)
    with pytest.raises(CapabilityError):
        await GuardLayer(recording).execute(NEEDS_TRANSACTIONS[case])
    assert recording.seen == []


async def test_references_that_cannot_be_kept_are_refused_before_any_io(
    recording: RecordingLayer,
) -> None:
    """A document with references is not sent to a backend that cannot enforce them."""
    recording.narrowed = replace(recording.inner.capabilities, references=False)
    _, children, _ = family("restrict")
    child = member(children)
    for op in (
        Insert(children, (child,)),
        Replace(children, (child,)),
        Patch(children, (identity(1),), (("parent", None),)),
    ):
        with pytest.raises(CapabilityError):
            await GuardLayer(recording).execute(op)
    assert recording.seen == []


async def passed(recording: RecordingLayer, op: Op[Any]) -> Any:
    """Return the operation in the form in which it reaches the backend."""
    await GuardLayer(recording).execute(op)
    return recording.seen.pop()


def parts(where: Filter) -> list[Filter]:
    """Return a filter and all that it is made of."""
    if isinstance(where, And | Or):
        return [where, *(part for item in where.items for part in parts(item))]
    if isinstance(where, Not):
        return [where, *parts(where.item)]
    return [where]


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(filters(PEOPLE))
async def test_a_filter_arrives_in_normal_form(recording: RecordingLayer, where: Filter) -> None:
    """No adapter meets a negation, a null to compare with, an empty list or a constant part."""
    arrived = (await passed(recording, CountDocuments(PEOPLE, where))).where
    if arrived in {ALL, NONE}:
        return
    for part in parts(arrived):
        assert not isinstance(part, Not)
        assert part not in {ALL, NONE}
        if isinstance(part, Test) and part.operator not in {Operator.IS_NULL, Operator.NOT_NULL}:
            values = part.operand if isinstance(part.operand, tuple) else (part.operand,)
            assert values
            assert None not in values


async def test_a_position_is_folded_into_the_filter(recording: RecordingLayer) -> None:
    """An adapter gets a total order and a filter, never a position."""
    order = parse_order(["-name"])[:1]
    op = Find(PEOPLE, order=order, after=(None, identity(1)))
    arrived = await passed(recording, op)
    assert arrived.after is None
    assert arrived.order == parse_order(["-name"])
    assert arrived.where != ALL


async def test_an_average_is_planned_as_sum_and_count(recording: RecordingLayer) -> None:
    """No adapter computes an average."""
    guard = GuardLayer(recording)
    await guard.execute(Insert(PEOPLE, (person(1, visits=1), person(2, visits=2))))
    rows = await guard.execute(Aggregate(PEOPLE, (Avg("visits"), Sum("visits"), Avg("weight"))))
    assert rows[0].values == (1.5, 3, None)
    arrived = cast(Aggregate, recording.seen[-1])
    assert Function.AVG not in {measure.function for measure in arrived.measures}
    assert len(set(arrived.measures)) == len(arrived.measures)


async def test_values_arrive_canonical(recording: RecordingLayer) -> None:
    """Stored and compared values arrive in the one form in which they are kept."""
    ann = person(1, weight=Decimal("-0"), profile={"b": 1, "a": -0.0})
    arrived = await passed(recording, Insert(PEOPLE, (ann,)))
    (document,) = arrived.documents
    assert repr(document["weight"]) == "Decimal('0.0000')"
    assert repr(document["profile"]) == "{'a': 0.0, 'b': 1}"
    assert document is not ann
    assert repr(ann["weight"]) == "Decimal('-0')"
    counted = await passed(recording, CountDocuments(PEOPLE, F.weight > 5))
    assert repr(counted.where.operand) == "Decimal('5.0000')"


async def test_the_guard_also_stands_before_units(recording: RecordingLayer) -> None:
    """Inside a unit the same requests are refused, before the unit is touched."""
    unit = await GuardLayer(recording).begin()
    with pytest.raises(InvalidRequestError):
        await unit.execute(Find(PEOPLE, limit=0))
    arrived = CountDocuments(PEOPLE, ~(F.visits == 1))
    assert await unit.execute(arrived) == 0
    await unit.rollback()
    assert [type(op) for op in recording.seen] == [CountDocuments]
    assert recording.seen[0] != arrived


async def test_a_unit_without_time_is_refused(recording: RecordingLayer) -> None:
    """A deadline that is not positive is refused before the unit begins."""
    for deadline in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidRequestError) as refused:
            await GuardLayer(recording).begin(UnitOptions(deadline=deadline))
        assert refused.value.hint


async def test_one_instant_has_one_form(recording: RecordingLayer) -> None:
    """Two zones of one instant make the same operation."""
    from healthstore.testing.contract._samples import EVERYTHING

    await recording.inner.execute(Ensure((EVERYTHING,)))
    utc = datetime(2026, 1, 1, 12, tzinfo=UTC)
    other = utc.astimezone(timezone(timedelta(hours=5)))
    first = await passed(recording, CountDocuments(EVERYTHING, F.moment == utc))
    second = await passed(recording, CountDocuments(EVERYTHING, F.moment == other))
    assert first == second
    assert repr(first) == repr(second)
