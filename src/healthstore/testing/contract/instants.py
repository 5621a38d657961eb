"""Instants: the same in whatever zone the program is, and by the program's clock alone."""

from __future__ import annotations

import os
import time as clock_of_the_machine
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta, timezone
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from pydantic import field_validator

from healthstore.abc import Backend
from healthstore.entity import Entity, collection_of
from healthstore.errors import ConfigurationError, HealthstoreError, Outcome, RefusedValueError
from healthstore.model.ops import (
    Aggregate,
    Count,
    CountDocuments,
    Ensure,
    Find,
    Get,
    Insert,
    Max,
    Min,
    Op,
    Patch,
    Replace,
)
from healthstore.model.query import F, Filter, Operator, Test, parse_order
from healthstore.model.schema import Check, Collection
from healthstore.model.values import Value
from healthstore.repository import Repository
from healthstore.testing.contract._promises import Contract, needs_transactions, proves
from healthstore.testing.contract._samples import (
    EVERYTHING,
    READINGS,
    add,
    everything,
    identity,
    ids,
    one,
    reading,
    stored,
    typed,
)

__all__ = ("TestInstants",)

_BERLIN = ZoneInfo("Europe/Berlin")
_KATHMANDU = timezone(timedelta(hours=5, minutes=45))
_MOMENT = datetime(2026, 10, 25, 0, 30, 0, 1, tzinfo=UTC)
# One instant as it is written in several zones, an hour that comes twice among them.
_SPELLINGS = (
    _MOMENT,
    datetime(2026, 10, 25, 2, 30, 0, 1, tzinfo=_BERLIN),
    datetime(2026, 10, 25, 6, 15, 0, 1, tzinfo=_KATHMANDU),
    datetime(2026, 10, 24, 20, 30, 0, 1, tzinfo=ZoneInfo("America/New_York")),
)
_LATER = datetime(2026, 10, 25, 2, 30, 0, 1, tzinfo=_BERLIN, fold=1)  # an hour after it
_NAIVE = datetime(2026, 10, 25, 2, 30)  # noqa: DTZ001 - what must be refused


class _Timed(Entity, collection="contract_timed"):
    at: datetime = _MOMENT
    count: int = 0


class _Checked(Entity, collection="contract_timed_by_validators"):
    """What validators look at is written in another way."""

    at: datetime = _MOMENT
    count: int = 0

    @field_validator("count")
    @classmethod
    def positive(cls, value: int) -> int:
        """Return the count without its sign."""
        return abs(value)


@contextmanager
def _zone(name: str) -> Generator[None]:
    """Let the program be in a zone, as the variable TZ of its environment does."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    clock_of_the_machine.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        clock_of_the_machine.tzset()


class TestInstants(Contract):
    """An instant is one point in time, however and wherever it is written."""

    @proves("V1", "V3")
    @pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"])
    async def test_an_instant_is_the_same_wherever_the_program_is(
        self, store: Backend, zone: str
    ) -> None:
        """Written, found, sorted and grouped in one zone, and read in another one, in UTC."""
        rows = [reading(id=identity(at), taken=each) for at, each in enumerate(_SPELLINGS)]
        rows.append(reading(id=identity(9), taken=_LATER))
        await store.execute(Ensure((READINGS, EVERYTHING)))
        await store.close()
        with _zone(zone):
            await store.open()  # so that connections and sessions begin there
            await add(store, READINGS, *rows)
            assert [row["taken"] for row in await stored(store, READINGS)][:2] == [_MOMENT] * 2
            for spelled in _SPELLINGS:
                found = await stored(store, READINGS, F.taken == spelled)
                assert ids(found) == ids(rows[:4])
            assert ids(await stored(store, READINGS, F.taken > _MOMENT)) == ids(rows[4:])
            (bounds,) = await store.execute(Aggregate(READINGS, (Min("taken"), Max("taken"))))
            groups = await store.execute(Aggregate(READINGS, (Count(),), group=("taken",)))
            patch = Patch(READINGS, ids(rows[:1]), sets=(("taken", _LATER),))
            (patched,) = await store.execute(patch)
            await store.close()
        await store.open()
        later = _MOMENT + timedelta(hours=1)
        assert typed(bounds.values) == typed((_MOMENT, later))
        assert [(typed(row.key), row.values) for row in groups] == [
            (typed((_MOMENT,)), (4,)),
            (typed((later,)), (1,)),
        ]
        assert patched is not None
        got = await store.execute(Find(READINGS, order=parse_order(["id"])))
        wanted = [later, _MOMENT, _MOMENT, _MOMENT, later]
        assert [typed(row["taken"]) for row in got] == [typed(each) for each in wanted]
        assert typed(patched["taken"]) == typed(later)

    @proves("V3")
    async def test_an_instant_without_a_zone_is_refused_wherever_one_may_stand(
        self, store: Backend
    ) -> None:
        """In documents, JSON, changes, filters, positions and checks, and never guessed."""
        row = everything(moment=_MOMENT)
        await add(store, EVERYTHING, row)
        mine, order = ids([row]), parse_order(["moment"])
        requests: list[tuple[Op[object], str]] = [
            (Insert(EVERYTHING, (everything(moment=_NAIVE),)), "moment"),
            (Insert(EVERYTHING, (everything(moment_ms=_NAIVE),)), "moment_ms"),
            (Insert(EVERYTHING, (everything(data={"at": [_NAIVE]}),)), "data"),
            (Insert(EVERYTHING, (everything(clock=time(1, tzinfo=UTC)),)), "clock"),
            (Replace(EVERYTHING, ({**row, "moment": _NAIVE},)), "moment"),
            (Patch(EVERYTHING, mine, sets=(("moment", _NAIVE),)), "moment"),
            (Find(EVERYTHING, order=order, after=(_NAIVE, mine[0])), "moment"),
        ]
        tests: list[Filter] = [
            Test("moment", operator, _NAIVE)
            for operator in (Operator.EQ, Operator.NE, Operator.LT, Operator.GE)
        ]
        tests += [F.moment.in_([_MOMENT, _NAIVE]), F.moment.between(_MOMENT, _NAIVE)]
        requests += [
            (CountDocuments(EVERYTHING, each), "moment")
            for where in tests
            for each in (where, ~where)
        ]
        for op, field in requests:
            with pytest.raises(RefusedValueError) as error:
                await store.execute(op)
            assert (error.value.entity, error.value.field) == ("Everything", field)
            assert error.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises((ConfigurationError, RefusedValueError)):
            Collection("made_naive", EVERYTHING.fields, checks=(Check("late", F.moment > _NAIVE),))
        assert await stored(store, EVERYTHING) == [row]

    @proves("V3")
    async def test_an_entity_has_instants_with_a_zone_only(self, store: Backend) -> None:
        """What its methods are given is refused without one, and returned in UTC."""
        await store.execute(Ensure((collection_of(_Timed),)))
        timed = Repository(_Timed, store)
        kept = await timed.add(_Timed(at=_LATER))
        assert typed(kept.at) == typed(_MOMENT + timedelta(hours=1))
        assert await timed.get(kept.id) == kept
        odd = kept.model_copy(update={"id": identity(7), "at": _NAIVE})
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: timed.add(odd),
            lambda: timed.upsert(odd),
            lambda: timed.update(kept.id, {"at": _NAIVE}),
            lambda: timed.find(F.at == _NAIVE),
        )
        for call in calls:
            with pytest.raises(HealthstoreError) as error:
                await call()
            assert type(error.value) is RefusedValueError
            assert error.value.field == "at"
        changed = await timed.update(kept.id, {"at": _SPELLINGS[2]})
        assert typed(changed.at) == typed(_MOMENT)

    @proves("V3", "A12")
    @pytest.mark.parametrize("entity", [_Timed, _Checked])
    async def test_the_time_of_a_write_is_that_of_the_given_clock(
        self, store: Backend, entity: type[_Timed | _Checked]
    ) -> None:
        """To the microsecond, in UTC whatever zone the clock is in, and from no server."""
        await store.execute(Ensure((collection_of(entity),)))
        now = datetime(2001, 2, 3, 4, 5, 6, 789_012, tzinfo=_KATHMANDU)
        timed = Repository[_Timed | _Checked](entity, store, clock=lambda: now)
        kept = await timed.add(entity())
        born = kept.created_at
        verbs: tuple[Callable[[], Awaitable[_Timed | _Checked]], ...] = (
            lambda: timed.update(kept.id, {"count": 5}),
            lambda: timed.increment(kept.id, "count"),
            lambda: timed.upsert(after.model_copy(update={"count": 9})),
        )
        after = kept
        for verb in verbs:
            now += timedelta(microseconds=1)
            after = await verb()
            assert typed(after.updated_at) == typed(now.astimezone(UTC))
            assert after.created_at == born
            assert await timed.get(kept.id) == after

    @proves("A12")
    @needs_transactions
    async def test_a_clock_goes_on_inside_a_unit(self, store: Backend) -> None:
        """Two writes of one unit have two times: neither is that at which the unit began."""
        await store.execute(Ensure((collection_of(_Timed),)))
        kept = await Repository(_Timed, store).add(_Timed())
        now = _MOMENT
        unit = await store.begin()
        try:
            timed = Repository(_Timed, unit, clock=lambda: now)
            first = await timed.increment(kept.id, "count")
            now += timedelta(microseconds=1)
            second = await timed.increment(kept.id, "count")
            await unit.commit()
        finally:
            await unit.rollback()
        assert (first.updated_at, second.updated_at) == (_MOMENT, now)
        (row,) = await store.execute(Get(collection_of(_Timed), (kept.id,)))
        assert row is not None
        assert typed(row["updated_at"]) == typed(cast(Value, now))
        assert await one(store, collection_of(_Timed), row) == row
