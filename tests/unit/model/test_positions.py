"""What comes after a key of groups, held against the keys themselves."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.model.evaluate import groups_after, matches
from healthstore.model.evaluate.buckets import key_reader, key_writer
from healthstore.model.ops import Bucket
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FIRST_INSTANT, LAST_INSTANT, Document, FieldType, Kind, Value
from healthstore.model.zones import Unit, offsets, zone_of

EVENTS = Collection(
    "events",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("at", FieldType(Kind.DATETIME), nullable=True),
        Field("day", FieldType(Kind.DATE), nullable=True),
        Field("kind", FieldType(Kind.TEXT, max_length=9), nullable=True),
    ),
)
# Clocks that went back over midnight, by half an hour, by a day, by odd seconds; and none.
ZONES = (
    *("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"),
    *("America/Havana", "America/Sao_Paulo", "Africa/Monrovia", "America/Toronto"),
    *("Asia/Kathmandu", "Europe/Amsterdam", "Pacific/Chatham"),
)
SHIFTS = [
    (name, at)
    for name in ZONES
    for at, _ in offsets(
        datetime(1900, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC), zone_of(name)
    )
]
UNITS = tuple(Unit)


def _key(bucket: Bucket, document: Document) -> Value:
    return key_writer(EVENTS, bucket)(key_reader(EVENTS, bucket)(document))


def _document(**values: Value) -> Document:
    return {"id": uuid4(), "version": 1, "at": None, "day": None, "kind": None, **values}


def _order(values: tuple[Value, ...]) -> tuple[tuple[object, ...], ...]:
    return tuple((0,) if value is None else (1, value) for value in values)


@given(
    st.sampled_from(SHIFTS),
    st.sampled_from(UNITS),
    st.lists(
        st.timedeltas(timedelta(days=-2), timedelta(days=2))
        | st.sampled_from(
            [timedelta(seconds=each) for each in (-3600, -1800, -1, 0, 1, 1800, 3600)]
        ),
        min_size=2,
        max_size=6,
    ),
)
def test_a_bucket_comes_after_another_as_its_key_does(
    shift: tuple[str, datetime], unit: Unit, apart: list[timedelta]
) -> None:
    """Around each change of a zone's clocks, for each unit, by two keys and by one."""
    name, at = shift
    bucket = Bucket("at", unit, name)
    documents = [_document(at=at + by, kind="ab"[place % 2]) for place, by in enumerate(apart)]
    for group in ((bucket,), (bucket, "kind"), ("kind", bucket)):
        keys = [
            tuple(each["kind"] if key == "kind" else _key(bucket, each) for key in group)
            for each in documents
        ]
        for position in keys:
            after = matches(groups_after(EVENTS, group, position))
            assert [after(each) for each in documents] == [
                _order(key) > _order(position) for key in keys
            ]


@given(
    st.sampled_from([each for each in UNITS if each not in {Unit.MINUTE, Unit.HOUR}]),
    st.lists(st.dates(date(1, 1, 8), date(9999, 12, 30)) | st.none(), min_size=2, max_size=5),
)
def test_dates_come_after_others_as_their_buckets_do(unit: Unit, days: list[date | None]) -> None:
    """To the last day of the calendar, after which nothing comes; None comes before all."""
    bucket = Bucket("day", unit)
    documents = [_document(day=each) for each in days]
    keys = [_key(bucket, each) for each in documents]
    for position in keys:
        after = matches(groups_after(EVENTS, (bucket,), (position,)))
        assert [after(each) for each in documents] == [
            _order((key,)) > _order((position,)) for key in keys
        ]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/Havana"])
def test_nothing_comes_after_the_ends_of_time(unit: Unit, zone: str) -> None:
    """The last bucket is the last one, and the first one has all others after it."""
    bucket = Bucket("at", unit, zone)
    first, last = _document(at=FIRST_INSTANT + timedelta(days=7)), _document(at=LAST_INSTANT)
    ends = _key(bucket, first), _key(bucket, last)
    for position, wanted in (
        (ends[0], (False, True)),
        (ends[1], (False, False)),
        (None, (True, True)),
    ):
        after = matches(groups_after(EVENTS, (bucket,), (position,)))
        assert (after(first), after(last)) == wanted
