"""What a database is told of having: the beginning of a bucket is held against its key."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from healthstore.model.evaluate import plan_aggregate
from healthstore.model.grouping import checked_groups
from healthstore.model.ops import Aggregate, Bucket, Count
from healthstore.model.query import ALL, F, Filter, Operator, Or, Test
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind

THINGS = Collection(
    "things",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("at", FieldType(Kind.DATETIME)),
    ),
)
BEGIN = datetime(2026, 6, 30, 22, tzinfo=UTC)
_DURING = (F.at >= datetime(2026, 1, 1, tzinfo=UTC)) & (F.at < datetime(2027, 1, 1, tzinfo=UTC))


def _told(having: Filter, unit: str = "day", where: Filter = _DURING) -> Filter:
    bucket = Bucket("at", unit, "Europe/Berlin", name="begin")
    op = Aggregate(THINGS, (Count(),), where, (bucket,), names=("n",), having=having)
    return plan_aggregate(checked_groups(op)).having


@pytest.mark.parametrize(
    ("having", "operator", "operand"),
    [
        (F.begin >= BEGIN, Operator.GE, date(2026, 7, 1)),
        (F.begin >= BEGIN.replace(second=1), Operator.GT, date(2026, 7, 1)),
        (F.begin < BEGIN.replace(second=1), Operator.LE, date(2026, 7, 1)),
        (F.begin == BEGIN, Operator.EQ, date(2026, 7, 1)),
        (F.begin.in_([BEGIN, BEGIN.replace(second=1)]), Operator.IN, (date(2026, 7, 1),)),
    ],
)
def test_the_beginning_of_a_bucket_is_told_by_its_key(
    having: Filter, operator: Operator, operand: Any
) -> None:
    """A day by its date, whatever is asked of the instant."""
    found = _told(having)
    (test,) = found.items if not isinstance(found, Test) else (found,)  # type: ignore[union-attr]  # an And of one
    assert test == Test("k0", operator, operand)


def test_no_bucket_begins_within_one() -> None:
    """What equals no beginning is no row; and what differs from one, each that begins."""
    within = BEGIN.replace(second=1)
    (nothing,) = _told(F.begin == within).items  # type: ignore[union-attr]  # an And of one
    assert nothing == Or(())


def test_an_hour_is_told_by_its_second() -> None:
    """Also the one that clocks repeat."""
    (test,) = _told(F.begin > BEGIN, "hour").items  # type: ignore[union-attr]  # an And of one
    assert test == Test("k0", Operator.GT, int(BEGIN.timestamp()))


def test_what_may_be_in_any_year_is_left_to_the_core() -> None:
    """A bucket may be null there, of which the years are not known."""
    assert _told(F.begin > BEGIN, where=ALL) == ALL
