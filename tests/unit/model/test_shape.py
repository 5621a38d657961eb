"""Shapes: a request without its values, in a bounded line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.model.ops import (
    Aggregate,
    Avg,
    Batch,
    Count,
    CountDocuments,
    Delete,
    Effect,
    Ensure,
    Find,
    Get,
    Insert,
    Op,
    Operation,
    Patch,
    Patches,
    Replace,
)
from healthstore.model.query import (
    ALL,
    NONE,
    And,
    F,
    Filter,
    Not,
    Operator,
    Or,
    Test,
    parse_order,
)
from healthstore.model.shape import MAX_SHAPE, shape
from healthstore.testing.contract._samples import PEOPLE, READINGS, person

IDS = (uuid4(), uuid4(), uuid4())
NOW = datetime(2026, 1, 1, tzinfo=UTC)

# Values that no shape can hold by chance: "CANARY" in text, or a long row of sevens.
CANARIES: st.SearchStrategy[Any] = st.sampled_from(
    [
        "CANARY",
        b"CANARY",
        7_777_777,
        -7_777_777,
        7_777_777.5,
        Decimal("7777777.25"),
        timedelta(days=7_777_777),
        UUID(int=0x77777777777777777777777777777777),
        {"CANARY": ["CANARY", 7_777_777]},
    ]
)
NAMES = st.sampled_from([field.name for field in PEOPLE.fields])
TESTS = st.builds(
    Test, NAMES, st.sampled_from(Operator), CANARIES | st.lists(CANARIES, max_size=4).map(tuple)
)
FILTERS: st.SearchStrategy[Filter] = st.recursive(
    TESTS,
    lambda children: (
        st.lists(children, max_size=4).map(lambda items: And(tuple(items)))
        | st.lists(children, max_size=4).map(lambda items: Or(tuple(items)))
        | children.map(Not)
    ),
    max_leaves=40,
)
CANARY_IDS = st.lists(st.just(UUID(int=0x77777777777777777777777777777777)), max_size=3).map(tuple)
DOCUMENTS = st.lists(st.dictionaries(NAMES, CANARIES), max_size=3).map(tuple)
CHANGES = st.lists(st.tuples(NAMES, CANARIES), max_size=9).map(tuple)
VERSIONS = st.none() | st.just((7_777_777,))
ORDERS = st.lists(NAMES, max_size=3).map(parse_order)
PATCHES = st.builds(Patch, st.just(PEOPLE), CANARY_IDS, CHANGES, CHANGES, VERSIONS)
REQUESTS: st.SearchStrategy[Operation] = st.one_of(
    st.builds(Get, st.just(PEOPLE), CANARY_IDS),
    st.builds(Insert, st.just(PEOPLE), DOCUMENTS),
    st.builds(Replace, st.just(PEOPLE), DOCUMENTS, VERSIONS),
    PATCHES,
    st.builds(Patches, st.just(PEOPLE), st.lists(PATCHES, max_size=3).map(tuple)),
    st.builds(Delete, st.just(PEOPLE), CANARY_IDS, VERSIONS),
    st.builds(
        Find,
        st.just(PEOPLE),
        FILTERS,
        ORDERS,
        st.integers(1, 1_000),
        st.none() | st.lists(CANARIES).map(tuple),
    ),
    st.builds(CountDocuments, st.just(PEOPLE), FILTERS),
    st.builds(
        Aggregate,
        st.just(PEOPLE),
        st.just((Count(), Avg("visits"))),
        FILTERS,
        st.lists(NAMES, max_size=3).map(tuple),
    ),
)


@given(REQUESTS | st.lists(REQUESTS, max_size=5).map(lambda each: Batch(tuple(each))))
def test_a_shape_is_bounded_and_holds_no_value(op: Op[Any]) -> None:
    """No operand, document, id, version or position appears, whatever the request."""
    text = shape(op)
    assert "CANARY" not in text
    assert "7777777" not in text
    assert 0 < len(text) <= MAX_SHAPE
    assert "\n" not in text


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        (Ensure((PEOPLE, READINGS)), "ensure contract_people, contract_readings"),
        (Get(PEOPLE, IDS), "get contract_people 3 ids"),
        (Get(PEOPLE, IDS[:1]), "get contract_people 1 id"),
        (Insert(PEOPLE, (person(1), person(2))), "insert contract_people 2 documents"),
        (Replace(PEOPLE, (person(1),), (4,)), "replace contract_people 1 document"),
        (
            Patch(PEOPLE, IDS, (("name", "Ada"), ("team", None)), (("visits", 1),)),
            "patch contract_people 3 ids set name, team increment visits",
        ),
        (Patches(PEOPLE, (Patch(PEOPLE, IDS[:1]),) * 2), "patch contract_people 2 times"),
        (Delete(PEOPLE, IDS), "delete contract_people 3 ids"),
        (
            Find(
                PEOPLE,
                (F.email == "ada@example.org") & (F.visits >= 3),
                parse_order(["-visits"]),
                50,
            ),
            "find contract_people where (email = ? and visits >= ?) order -visits, id limit 50",
        ),
        (Find(PEOPLE), "find contract_people order id limit 100"),
        (
            Find(PEOPLE, columns=("id", "email"), limit=3),
            "find contract_people (id, email) order id limit 3",
        ),
        (
            Find(PEOPLE, order=(), columns=("team",), distinct=True),
            "find contract_people distinct (team) limit 100",
        ),
        (Find(PEOPLE, after=(IDS[0],)), "find contract_people after ? order id limit 100"),
        (CountDocuments(PEOPLE), "count contract_people"),
        (
            Aggregate(PEOPLE, (Count(), Avg("visits")), F.name.is_null(), ("team", "name")),
            "aggregate contract_people count(*), avg(visits) where name is null group team, name",
        ),
        (
            Batch((Insert(PEOPLE, (person(1),)), Delete(PEOPLE, IDS))),
            "batch insert contract_people 1 document; delete contract_people 3 ids",
        ),
    ],
    ids=lambda each: type(each).__name__.lower() if isinstance(each, Op) else "",
)
def test_a_shape_reads_as_the_request(op: Op[Any], expected: str) -> None:
    """Collection, fields, operators, numbers: what somebody needs who looks for an index."""
    assert shape(op) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (ALL, ""),
        (NONE, " where false"),
        (Not(ALL), " where not true"),
        (F.name == "Ada", " where name = ?"),
        (F.name != None, " where name != ?"),  # noqa: E711 - a filter, as somebody may write it
        (F.name.startswith("A"), " where name starts with ?"),
        (F.name.not_in(["Ada", "Bob", "Eve"]), " where name not in 3 values"),
        (Test("name", Operator.NOT_NULL), " where name is not null"),
        ((F.name == F.team) | (F.visits > F.number), " where (name = team or visits > number)"),
        (~((F.name == "a") | (F.visits < 1)), " where not (name = ? or visits < ?)"),
    ],
)
def test_a_filter_reads_as_it_is_written(where: Filter, expected: str) -> None:
    """Each test is a field, an operator, and a question mark for its operand."""
    assert shape(CountDocuments(PEOPLE, where)) == f"count contract_people{expected}"


def test_a_deep_filter_is_elided() -> None:
    """What is nested deeper than a reader can follow is three dots, at any depth."""
    deep: Filter = F.name == "x"
    for _ in range(10_000):
        deep = Not(deep)
    text = shape(CountDocuments(PEOPLE, deep))
    assert text == "count contract_people where not not not not not not …"


def test_a_wide_filter_is_cut() -> None:
    """A filter of thousands of tests gives a line of the greatest length that ends in dots."""
    wide = Or(tuple(F.name == str(number) for number in range(5_000)))
    text = shape(CountDocuments(PEOPLE, wide))
    assert len(text) <= MAX_SHAPE
    assert text.endswith("…")
    assert text.startswith("count contract_people where (name = ? or name = ?")


@pytest.mark.parametrize("length", range(MAX_SHAPE - 3, MAX_SHAPE + 4))
def test_a_shape_is_cut_only_when_it_is_too_long(length: int) -> None:
    """The longest shape is written out; one more code point, and it ends in dots."""
    name = "n" * (length - len("count contract_people where  = ?"))
    text = shape(CountDocuments(PEOPLE, Test(name, Operator.EQ, "x")))
    assert len(text) <= MAX_SHAPE
    assert text.endswith("…") is (length > MAX_SHAPE)
    assert len(text) == length or length > MAX_SHAPE


def test_an_operation_of_somebody_else_is_its_name() -> None:
    """An operation that no table lists shows its type only."""

    class Vacuum(Op[None]):
        effect = Effect.ADMIN

    assert shape(Vacuum()) == "vacuum"
