"""Tagged JSON: what is written is read back as the same value."""

from __future__ import annotations

import json
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.model.values import FieldType, Json, Kind, Value, canonicaliser
from healthstore.model.wire import digester, from_tagged, to_tagged
from healthstore.testing.strategies import values

TYPES = [
    *(FieldType(kind) for kind in Kind if kind not in {Kind.DECIMAL, Kind.ENUM}),
    FieldType(Kind.DATETIME, milliseconds=True),
    FieldType(Kind.DECIMAL, digits=28, places=10),
    FieldType(Kind.DECIMAL, digits=3, places=0),
    FieldType(Kind.ENUM, choices=("a", "$b", "é")),
]
cases = st.one_of([st.tuples(st.just(field), values(field)) for field in TYPES])


@given(cases)
def test_a_value_survives_tagged_json(case: tuple[FieldType, Value]) -> None:
    """Written, encoded as JSON text, decoded and read, a value is the same in value and type."""
    field, value = case
    text = msgspec.json.encode(to_tagged(field)(value))
    read = canonicaliser(field)(from_tagged(field)(msgspec.json.decode(text)))
    assert (type(read), repr(read)) == (type(value), repr(value))


@given(cases)
def test_tagged_json_is_read_by_any_parser(case: tuple[FieldType, Value]) -> None:
    """The standard library's parser reads the same value from the text."""
    field, value = case
    text = msgspec.json.encode(to_tagged(field)(value))
    read = canonicaliser(field)(from_tagged(field)(cast(Json, json.loads(text))))
    assert (type(read), repr(read)) == (type(value), repr(value))


@given(st.one_of([st.tuples(st.just(each), values(each), values(each)) for each in TYPES]))
def test_equal_values_and_only_those_have_equal_digests(
    case: tuple[FieldType, Value, Value],
) -> None:
    """Two values give the same bytes exactly if they are the same."""
    field, value, other = case
    digest = digester(field) or (lambda each: each)
    first, second = (msgspec.msgpack.encode(digest(each)) for each in (value, other))
    assert (first == second) is (repr(value) == repr(other))


MALFORMED: tuple[tuple[Kind, Json], ...] = (
    (Kind.DECIMAL, "77231977"), (Kind.DECIMAL, {"$numberDecimal": "77231977x"}),
    (Kind.DECIMAL, {"$numberDecimal": 77231977}), (Kind.DECIMAL, {"$date": "77231977"}),
    (Kind.DATETIME, {"$date": "77231977"}), (Kind.DATETIME, {"$date": "2026-01-01T00:00:00+02:00"}),
    (Kind.DATETIME, {"$date": 77231977}), (Kind.DATETIME, "2026-01-01T00:00:00Z"),
    (Kind.DATE, {"$hsDate": "77231977-1"}), (Kind.TIME, {"$hsTime": "77:23:19"}),
    (Kind.DURATION, {"$hsDuration": "77231977.5"}), (Kind.UUID, {"$uuid": "77231977"}),
    (Kind.BYTES, {"$binary": {"base64": "77231977!"}}), (Kind.BYTES, {"$binary": "77231977"}),
    (Kind.BYTES, {"$binary": {"base64": "é"}}), (Kind.BYTES, "77231977"),
    (Kind.INTEGER, {"$numberLong": "77231977.5"}), (Kind.INTEGER, {"$numberLong": 77231977}),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "wired"), MALFORMED)
def test_malformed_tags_are_refused_without_their_text(kind: Kind, wired: Json) -> None:
    """What is not a tagged value is a ValueError that quotes nothing."""
    field = FieldType(kind, digits=12, places=2)
    with pytest.raises(ValueError, match=r".+") as refused:
        from_tagged(field)(wired)
    assert type(refused.value) is ValueError
    assert "77231977" not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__


@pytest.mark.parametrize(
    "value",
    [{"$date": "2026-01-01T00:00:00Z"}, {"$hsLiteral": {"$hsLiteral": 1}}, {"$": 1, "a": 2}, {}],
)
def test_an_object_that_looks_like_a_tag_stays_an_object(value: Json) -> None:
    """A JSON field may hold any object, also one that looks like a tagged value."""
    field = FieldType(Kind.JSON)
    assert from_tagged(field)(to_tagged(field)(value)) == value
