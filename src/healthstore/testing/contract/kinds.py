"""Kinds: a field holds values of its type and no other, and no store changes one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import cast
from uuid import UUID, uuid4

import pytest

from healthstore.abc import Backend
from healthstore.errors import HealthstoreError
from healthstore.layers.guard import GuardLayer
from healthstore.model.ops import Aggregate, Count, Ensure, Find, Insert, Max, Min, Patch, Replace
from healthstore.model.query import F, Operator, Test, parse_order
from healthstore.model.values import Document, Value
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import (
    EVERYTHING,
    add,
    canonical,
    everything,
    identity,
    ids,
    one,
    stored,
    typed,
)

__all__ = ("TestKinds",)


class _Level(StrEnum):
    LOW = "low"
    HIGH = "High"


class _Rank(IntEnum):
    TWO = 2


class _Instant(datetime):
    """An instant of a driver's own class."""


class _Day(date):
    """A day of a driver's own class."""


class _Identity(UUID):
    """A UUID of a driver's own class."""


class _Span(timedelta):
    """A duration of a driver's own class."""


# Values of each kind as callers may give them, in rising order.
GIVEN: Mapping[str, tuple[object, ...]] = {
    "number": (-(2**63), -1, 0, 1, _Rank.TWO, 3, 2**53 + 1, 2**63 - 1),
    "ratio": (-1e300, -2, -1.5, -0.0, 0.5, 1, 1.5, 2, 10, 1e300),
    "amount": (Decimal(-10), -9, Decimal("-0.5"), 0, Decimal("0.5"), 1, Decimal("1E+1"), 100),
    "price": (-9, Decimal("-8.9999"), Decimal(-1), Decimal("1E-4"), 9, Decimal("9.0001"), 10),
    "level": (_Level.HIGH, _Level.LOW, "mid", "äußerst"),
    "moment": (
        _Instant(1, 1, 2, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        _Instant(2026, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 30, tzinfo=UTC),
    ),
    "day": (date(1, 1, 2), _Day(999, 1, 1), date(1000, 1, 1), _Day(9999, 12, 30)),
    "span": (timedelta(days=-5), _Span(microseconds=-1), timedelta(0), _Span(days=40_000)),
    "owner": (UUID(int=0), _Identity(int=1), UUID(int=2**127), _Identity(int=2**128 - 1)),
    "flag": (False, True),
}
# Values of the right kind that do not fit: a store may keep them whole, or refuse them. Spaces
# beyond the end of a text are not among them: by its standard SQL cuts them off without a word,
# so that the core alone stands before it (test_a_value_that_is_not_portable_is_refused…).
UNFIT: tuple[tuple[str, Value], ...] = (
    ("label", "x" * 101),
    ("label", "😀" * 101),
    ("number", 2**63),
    ("number", -(2**63) - 1),
    ("number", 2**64 + 300),
    ("number", 10**30),
    ("price", Decimal("100000000.0000")),
    ("price", Decimal("-123456789.1234")),
    ("amount", Decimal("1000000000000000000.0000000000")),
    ("amount", Decimal("-99999999999999999999.9999999999")),
    ("level", "none"),
    ("level", "low "),
    ("level", "LOW"),
    ("level", ""),
)


class TestKinds(Contract):
    """Neither a caller's spelling nor a careless store makes a field hold two types."""

    @proves("V8", "C12", "D7")
    @pytest.mark.parametrize("field", GIVEN)
    async def test_a_field_holds_one_type_however_values_are_given(
        self, store: Backend, field: str
    ) -> None:
        """Added, replaced and patched: sorted, compared, grouped and ranked as one type."""
        given = GIVEN[field]
        rows = [everything(id=identity(at)) for at in range(len(given))]
        for at, (row, value) in enumerate(zip(rows, given, strict=True)):
            held: Document = {**row, field: cast(Value, value)}
            await add(store, EVERYTHING, held if at % 3 == 0 else row)
            if at % 3 == 1:
                await store.execute(Replace(EVERYTHING, (held,)))
            if at % 3 == 2:
                sets = ((field, cast(Value, value)),)
                await store.execute(Patch(EVERYTHING, ids([row]), sets=sets))
        wanted = [typed(canonical(EVERYTHING, field, value)) for value in given]
        assert [typed(row[field]) for row in await stored(store, EVERYTHING)] == wanted
        for key, values in ((field, wanted), (f"-{field}", wanted[::-1])):
            found = await store.execute(Find(EVERYTHING, order=parse_order([key])))
            assert [typed(row[field]) for row in found] == values
        groups = await store.execute(Aggregate(EVERYTHING, (Count(),), group=(field,)))
        assert [typed(row.key[0]) for row in groups] == wanted
        for at, value in enumerate(given):
            assert ids(await stored(store, EVERYTHING, F[field] == value)) == ids(rows[at : at + 1])
            above = Test(field, Operator.GT, cast(Value, value))
            assert ids(await stored(store, EVERYTHING, above)) == ids(rows[at + 1 :])
        if field not in {"flag", "owner"}:
            (ends,) = await store.execute(Aggregate(EVERYTHING, (Min(field), Max(field))))
            assert [typed(value) for value in ends.values] == [wanted[0], wanted[-1]]

    @proves("V2", "V9")
    @pytest.mark.parametrize(("field", "value"), UNFIT)
    async def test_a_store_never_changes_what_it_cannot_hold(
        self, backend: Backend, field: str, value: Value
    ) -> None:
        """Who goes around the checks of the core is refused, or reads back what was written."""
        await backend.execute(Ensure((EVERYTHING,)))
        sound = everything()
        await backend.execute(Insert(EVERYTHING, (sound,)))
        odd: Document = {**everything(id=uuid4()), field: value}
        changed = Patch(EVERYTHING, ids([sound]), sets=((field, value),))
        guarded = GuardLayer(backend)
        for op, row in ((Insert(EVERYTHING, (odd,)), odd), (changed, {**sound, field: value})):
            try:
                await backend.execute(op)
            except HealthstoreError:
                continue
            kept = await one(guarded, EVERYTHING, row)
            assert kept is not None
            assert (type(kept[field]), kept[field]) == (type(value), value)
        assert await one(guarded, EVERYTHING, sound) is not None
