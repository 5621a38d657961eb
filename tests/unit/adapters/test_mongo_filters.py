"""Filters, orders and patches become the queries that mean the same."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st

from healthstore.adapters.mongo.codec import Codec
from healthstore.adapters.mongo.definition import (
    index_models,
    required_after,
    required_by,
    required_of,
    validator,
    values_of_new,
)
from healthstore.adapters.mongo.filters import computed_page, query, sort_keys
from healthstore.adapters.mongo.groups import pipeline
from healthstore.adapters.mongo.updates import guards, update
from healthstore.errors import CapabilityError, InvalidRequestError
from healthstore.model.ops import Aggregate, Count, Find, Min, Patch, Sum
from healthstore.model.query import ALL, NONE, And, F, Not, Operator, Or, Order, Test
from healthstore.model.schema import Check, Collection, Field, Index, Unique
from healthstore.model.values import FieldType, Kind

PEOPLE = Collection(
    "people",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("email", FieldType(Kind.TEXT, max_length=100)),
        Field("name", FieldType(Kind.TEXT, max_length=100), nullable=True),
        Field("visits", FieldType(Kind.INTEGER), nullable=True),
        Field("ratio", FieldType(Kind.FLOAT), nullable=True),
        Field("weight", FieldType(Kind.DECIMAL, digits=6, places=2), nullable=True),
        Field("blob", FieldType(Kind.BYTES), nullable=True),
        Field("profile", FieldType(Kind.JSON), nullable=True),
        Field("level", FieldType(Kind.ENUM, choices=("low", "high")), nullable=True),
        Field("note", FieldType(Kind.TEXT), nullable=True),
    ),
    uniques=(Unique("email"), Unique("name", "visits"), Unique("id")),
    indexes=(Index("name", "-visits"), Index("-id")),
    checks=(Check("some_visits", F.visits >= 0),),
)
CODEC = Codec(PEOPLE)
ONE = UUID(int=1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=4)


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        (ALL, {}),
        (NONE, {"_id": {"$in": []}}),
        (F.id == ONE, {"_id": {"$eq": ONE}}),
        (F.visits != 3, {"visits": {"$not": {"$in": [3, None]}}}),
        (F.visits.in_([1, 2]), {"visits": {"$in": [1, 2]}}),
        (F.visits.not_in([1, 2]), {"visits": {"$not": {"$in": [1, 2, None]}}}),
        (F.name.is_null(), {"name": {"$eq": None}}),
        (Test("name", Operator.NOT_NULL), {"name": {"$ne": None}}),
        (And((F.visits > 1, F.visits <= 2)), {"$and": [{"visits": {"$gt": 1}}, {"visits": {"$lte": 2}}]}),
        (Or((F.visits < 1, F.visits >= 2)), {"$or": [{"visits": {"$lt": 1}}, {"visits": {"$gte": 2}}]}),
        (F.name.startswith("a"), {"name": {"$gte": "a", "$lt": "b"}}),
        (F.name.startswith("\ud7ff"), {"name": {"$gte": "\ud7ff", "$lt": "\ue000"}}),
        (F.name.startswith("\U0010ffff"), {"name": {"$gte": "\U0010ffff"}}),
        (F.name.startswith(""), {"name": {"$ne": None}}),
        (Test("name", Operator.NOT_STARTS, "a"), {"$or": [{"name": {"$lt": "a"}}, {"name": {"$gte": "b"}}]}),
        (Test("name", Operator.NOT_CONTAINS, ""), {"_id": {"$in": []}}),
        (F.name.contains("a.c"), {"name": {"$regex": r"a\.c"}}),
        (F.email.matches("a+"), {"email": {"$regex": r"\A(?:a+)(?![\s\S])"}}),
        (
            Test("name", Operator.NOT_MATCHES, "a"),
            {"name": {"$not": {"$regex": r"\A(?:a)(?![\s\S])"}, "$ne": None}},
        ),
        (F.email > F.email, {"$expr": {"$gt": ["$email", "$email"]}}),
    ],
)  # fmt: skip
def test_a_filter_has_one_query(filter_: Test, expected: object) -> None:
    """Each test compiles to a query in which nulls take part only by name."""
    assert query(filter_, CODEC) == expected


def test_long_texts_are_sorted_by_their_heads() -> None:
    """A page of long texts is sorted by an expression, and holds the stored fields only."""
    order = (Order("note", descending=True), Order("name"), Order("id"))
    null = {"$eq": [{"$ifNull": ["$note", None]}, None]}
    head = {"$cond": [null, None, {"$substrCP": ["$note", 0, 1_000]}]}
    assert computed_page(Find(PEOPLE, ALL, order, 7), CODEC, whole=False) == [
        {"$match": {}},
        {"$set": {"_0": head}},
        {"$sort": {"_0": -1, "name": 1, "_id": 1}},
        {"$limit": 7},
        {"$unset": ["_0"]},
    ]


def test_a_json_value_is_compared_whole() -> None:
    """A plain query would also look into arrays; an expression compares the value itself."""
    profile = {"$ifNull": ["$profile", None]}
    assert query(F.profile == [1], CODEC) == {"$expr": {"$eq": [profile, {"$literal": [1]}]}}
    assert query(F.profile == {"a.b": 1}, CODEC) == {
        "$expr": {"$eq": [profile, {"$literal": {"a%2Eb": 1}}]}
    }
    assert query(F.profile.is_null(), CODEC) == {"$expr": {"$eq": [profile, None]}}


def test_two_fields_are_compared_where_both_have_a_value() -> None:
    """To an expression null is less than any value; a field that may be null is looked at first."""
    name = {"$ifNull": ["$name", None]}
    given = {"$ne": [name, None]}
    assert query(F.name <= F.email, CODEC) == {
        "$expr": {"$and": [given, {"$lte": [name, "$email"]}]}
    }
    note = {"$ifNull": ["$note", None]}
    assert query(F.name != F.note, CODEC) == {
        "$expr": {"$and": [given, {"$ne": [note, None]}, {"$ne": [name, note]}]}
    }


def test_a_negation_is_refused() -> None:
    """A filter that nobody normalised is a defect of the caller, not a wrong answer."""
    with pytest.raises(InvalidRequestError):
        query(Not(F.visits == 1), CODEC)


@given(TEXT, TEXT)
def test_a_prefix_is_a_range(prefix: str, text: str) -> None:
    """A text lies in the range of a prefix exactly if it starts with it."""
    bounds = query(F.name.startswith(prefix), CODEC)["name"]
    inside = bounds.get("$gte", "") <= text and ("$lt" not in bounds or text < bounds["$lt"])
    assert inside == text.startswith(prefix)


@given(st.text("ab.\n\\E$"), st.text("ab.\n\\E$", min_size=1))
def test_text_is_matched_literally(text: str, part: str) -> None:
    """A pattern matches what Python's own search for the text finds, newlines included."""
    for filter_, found in (
        (F.name.contains(part), part in text),
        (F.name.endswith(part), text.endswith(part)),
    ):
        pattern = query(filter_, CODEC)["name"]["$regex"]
        assert (re.search(pattern, text) is not None) == found


def test_bytes_have_no_order_in_mongodb() -> None:
    """MongoDB sorts bytes by length first: an ordered request is refused, not answered wrongly."""
    for request in (
        lambda: query(F.blob > b"a", CODEC),
        lambda: sort_keys([Order("blob")], CODEC),
        lambda: pipeline(Aggregate(PEOPLE, (Min("blob"),)), CODEC),
    ):
        with pytest.raises(CapabilityError):
            request()


def test_a_text_beyond_the_limit_of_patterns_is_refused() -> None:
    """MongoDB would fail with an error of its own."""
    with pytest.raises(CapabilityError):
        query(F.name.contains("x" * 20_000), CODEC)


def test_an_order_names_stored_keys() -> None:
    """The id is `_id`; descending is -1."""
    assert sort_keys([Order("name", descending=True), Order("id")], CODEC) == [
        ("name", -1),
        ("_id", 1),
    ]


def test_sums_of_integers_are_exact() -> None:
    """They are added as Decimal128; a sum of int64 would become a double."""
    op = Aggregate(PEOPLE, (Sum("visits"), Count(), Count("name")), group=("level",), limit=5)
    match, group, limit = pipeline(op, CODEC)
    assert match == {"$match": {}}
    assert group["$group"]["_id"] == {"k0": {"$ifNull": ["$level", None]}}
    assert group["$group"]["m0"] == {"$sum": {"$toDecimal": "$visits"}}
    assert limit == {"$limit": 6}


@pytest.mark.parametrize(
    ("field", "step", "expected"),
    [
        ("visits", 5, {"$lte": 2**63 - 6}),
        ("visits", -5, {"$gte": -(2**63) + 5}),
        ("visits", 0, {"$gte": -(2**63)}),
        ("ratio", 0.5, {"$lte": 1.7976931348623157e308}),
        ("weight", Decimal("0.01"), {"$lte": Decimal128("9999.98")}),
        ("weight", Decimal("-1.00"), {"$gte": Decimal128("-9998.99")}),
    ],
)
def test_an_increment_is_guarded_by_its_range(field: str, step: object, expected: object) -> None:
    """The document matches only while the result stays in the range of the field's type."""
    op = Patch(PEOPLE, (ONE,), increments=((field, step),))  # type: ignore[arg-type] # parameters
    assert guards(op, CODEC, None) == {field: expected}


SIGN = st.sampled_from([-1, 1])
FINITE = st.floats(allow_nan=False, allow_infinity=False)
HUGE = st.sampled_from([2.0**970, 2.0**1023, sys.float_info.max])
NEAR = st.builds(lambda one, up, sign: sign * math.nextafter(one, up), HUGE, HUGE, SIGN)


@given(value=FINITE | NEAR, step=FINITE | NEAR)
def test_a_float_is_incremented_just_where_the_sum_is_finite(value: float, step: float) -> None:
    """The guard says of every float what Python's sum, rounded once, says of it."""
    op = Patch(PEOPLE, (ONE,), increments=(("ratio", step),))
    ((relation, bound),) = guards(op, CODEC, None)["ratio"].items()
    within = value <= bound if relation == "$lte" else value >= bound
    assert within is math.isfinite(value + step)


def test_a_patch_is_one_update() -> None:
    """Sets and increments travel together, guarded by the version."""
    op = Patch(PEOPLE, (ONE,), (("name", None), ("profile", {"$a": 1})), (("version", 1),), (3,))
    assert update(op, CODEC) == {
        "$set": {"name": None, "profile": {"%24a": 1}},
        "$inc": {"version": 1},
    }
    assert guards(op, CODEC, 3) == {"version": {"$lte": 2**63 - 2, "$eq": Int64(3)}}


def test_the_validator_knows_types_and_checks() -> None:
    """Fields are typed, those that are never null required, and each check is a part of it."""
    types, known, check = validator(CODEC)["$and"]
    described = types["$jsonSchema"]
    assert described["required"] == ["_id", "version", "email"]
    assert "visits" in known["$expr"]["$setIsSubset"][1]
    assert described["properties"]["visits"] == {"bsonType": ["long", "null"]}
    assert described["properties"]["level"]["enum"] == ["high", "low", None]
    assert check == {"$or": [{"visits": {"$eq": None}}, {"visits": {"$gte": 0}}]}


def test_a_document_may_lack_what_may_be_null() -> None:
    """But not a new field with a default, nor what is required now; what may be lacking stays so."""
    note = Field("note", FieldType(Kind.TEXT), nullable=True)
    mood = Field("mood", FieldType(Kind.TEXT), nullable=True, default="good")
    visits = Field("visits", FieldType(Kind.INTEGER), default=7)
    before = Collection("things", PEOPLE.fields[:2])
    after = replace(before, fields=(*before.fields, note, mood, visits))
    assert values_of_new(before, Codec(after)) == {"mood": "good", "visits": 7}
    needed = {"id", "version", "mood", "visits"}
    assert required_of(after) == required_after(before, after, ()) == needed
    assert required_by(validator(Codec(after))) == needed
    given = replace(after, fields=(*before.fields, replace(note, default="x"), mood, visits))
    assert required_after(after, given, needed) == needed
    assert required_after(after, given, {"id", "version"}) == needed - {"mood"}
    required = replace(after, fields=(*before.fields, replace(note, nullable=False)))
    assert required_after(after, required, needed) == {"id", "version", "note"}
    assert required_by({}) == required_by(None) == frozenset()


def test_nulls_stay_out_of_unique_indexes() -> None:
    """A unique index holds only documents with a value in each of its fields."""
    email, name, plain = (model.document for model in index_models(PEOPLE))
    assert email["unique"]
    assert "partialFilterExpression" not in email
    assert name["partialFilterExpression"] == {
        "name": {"$gte": ""},
        "visits": {"$gte": -(2**63)},
    }
    assert dict(plain["key"]) == {"name": 1, "visits": -1}
    assert plain["name"] == PEOPLE.index_name(PEOPLE.indexes[0])
