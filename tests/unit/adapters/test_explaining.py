"""What each kind of store says it would run, without a connection to any."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from tests.unit.model.test_change import definitions

from healthstore.abc import BackendURL
from healthstore.abc.adapter import Adapter
from healthstore.abc.registry import connect
from healthstore.model.change import ChangeEffect
from healthstore.model.ops import Alter, Drop, Ensure, Explained
from healthstore.model.query import F
from healthstore.model.schema import Check, Collection, Field, Index
from healthstore.model.values import FieldType, Kind

_NUMBER = FieldType(Kind.INTEGER)
URLS = {
    "postgresql": "postgresql://host/database",
    "mysql": "mysql://host/database",
    "mariadb": "mariadb://host/database",
    "sqlite": "sqlite:///explained.db",
    "mongodb": "mongodb://host/database",
}


def closed(name: str) -> Adapter[object]:
    """Return an adapter that was never opened."""
    backend = connect(BackendURL.parse(URLS[name]), name)
    assert isinstance(backend, Adapter)
    return backend


@pytest.mark.parametrize("name", URLS)
@settings(deadline=None, max_examples=60)
@given(one=definitions(), other=definitions())
def test_what_needs_nothing_needs_nothing_back(
    name: str, one: Collection, other: Collection
) -> None:
    """Nothing is run between equal definitions, and where nothing is run, nothing is rewritten."""
    store = closed(name)

    def told(before: Collection, after: Collection) -> Explained:
        return store.explain(Alter(before, after, ChangeEffect.LOSES_DATA))

    assert told(one, one).statements == told(other, other).statements == ()
    there, back = told(one, other), told(other, one)
    assert bool(there.statements) is bool(back.statements)
    assert there.statements or not (there.rewrites or there.seconds_per_row)
    assert there.seconds_per_row is not None
    assert there.seconds_per_row > 0 or not there.rewrites
    assert told(one, other) == there


@pytest.mark.parametrize("name", URLS)
def test_a_field_gets_another_type_together_with_its_check(name: str) -> None:
    """The two checks are equal, and compare with numbers of other types."""
    fields = (Field("id", FieldType(Kind.UUID)), Field("version", _NUMBER))
    amount = Field("amount", FieldType(Kind.FLOAT))
    before = Collection("t", (*fields, amount), checks=(Check("some", F.amount > 0.5),))
    exact = replace(amount, type=FieldType(Kind.DECIMAL, digits=6, places=2))
    check = Check("some", F.amount > Decimal("0.5"))
    after = Collection("t", (*fields, exact), checks=(check,))
    assert closed(name).explain(Alter(before, after, ChangeEffect.LOSES_DATA)).statements


@pytest.mark.parametrize("name", URLS)
@settings(deadline=None, max_examples=20)
@given(made=definitions())
def test_a_collection_is_made_and_dropped_by_its_name(name: str, made: Collection) -> None:
    """What creates a collection and what drops it both name it, and rewrite no row."""
    store = closed(name)
    for change in (Ensure((made,)), Drop(made)):
        told = store.explain(change)
        assert all(made.name in each for each in told.statements)
        assert told.statements
        assert not told.rewrites
        assert told.seconds_per_row == 0


# What is done for each row: nothing, each is looked at, or each is written again.
COSTS = {
    "a field": ("nothing", "nothing", "nothing", "nothing", "nothing"),
    "a default": ("nothing", "nothing", "nothing", "nothing", "written"),
    "a longer text": ("nothing", "written", "written", "nothing", "nothing"),
    "a shorter text": ("written", "written", "written", "nothing", "nothing"),
    "null forbidden": ("read", "written", "written", "written", "nothing"),
    "an index": ("read", "read", "read", "read", "read"),
    "a check": ("read", "written", "written", "written", "nothing"),
}


@pytest.mark.parametrize("change", COSTS)
def test_what_a_row_costs_is_told_by_what_is_done_for_it(change: str) -> None:
    """Of several things each counts; what is only noted costs no row anything."""
    name = Field("name", FieldType(Kind.TEXT, max_length=100))
    rank = Field("rank", _NUMBER, nullable=True)
    own = (Field("id", FieldType(Kind.UUID)), Field("version", _NUMBER))
    made = Collection("things", (*own, name, rank))

    def of(length: int) -> Collection:
        return replace(made, fields=(*own, replace(name, type=FieldType(Kind.TEXT, length)), rank))

    wanted = {
        "a field": replace(made, fields=(*made.fields, replace(rank, name="new"))),
        "a default": replace(made, fields=(*made.fields, replace(rank, name="new", default=7))),
        "a longer text": of(300),
        "a shorter text": of(90),
        "null forbidden": replace(made, fields=(*own, name, replace(rank, nullable=False))),
        "an index": replace(made, indexes=(Index("rank"),)),
        "a check": replace(made, checks=(Check("small", F.rank < 9),)),
    }[change]
    for store, cost in zip(URLS, COSTS[change], strict=True):
        told = closed(store).explain(Alter(made, wanted, ChangeEffect.LOSES_DATA))
        each = told.seconds_per_row
        assert each is not None
        done = "written" if told.rewrites else "read" if each else "nothing"
        assert (store, done) == (store, cost)
        assert (each > 0) is (cost != "nothing")


def test_the_two_products_of_one_protocol_are_told_by_the_url() -> None:
    """Before the server has said which one it is, the scheme of the URL says it."""
    made = Collection("things", (Field("id", FieldType(Kind.UUID)), Field("version", _NUMBER)))
    texts = [closed(name).explain(Ensure((made,))).statements[0] for name in ("mysql", "mariadb")]
    assert ["0900" in each for each in texts] == [True, False]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("postgresql", "WHERE status = 'OPEN'"),
        ("sqlite", "WHERE status = 'OPEN'"),
        ("mongodb", "'partialFilterExpression': {'status': {'$eq': 'OPEN'}}"),
        ("mysql", None),
        ("mariadb", None),
    ],
)
def test_an_index_of_a_part_is_one_where_the_database_can(name: str, said: str | None) -> None:
    """Its condition stands in the statement; elsewhere the statement is that of a whole index."""
    fields = (
        Field("id", FieldType(Kind.UUID)),
        Field("version", _NUMBER),
        Field("status", FieldType(Kind.TEXT, max_length=20), nullable=True),
        Field("due", _NUMBER),
    )
    before = Collection("tasks", fields)
    after = replace(before, indexes=(Index("due", where=F.status == "OPEN"),))
    statements = " ".join(closed(name).explain(Alter(before, after)).statements)
    assert (said or "due") in statements.replace('"', "'" if name == "mongodb" else "")
    assert said is not None or "OPEN" not in statements


@pytest.mark.parametrize(
    ("name", "elements", "part"),
    [
        ("postgresql", "USING gin (tags jsonb_path_ops)", "(tags -> 'x')"),
        ("sqlite", None, "json_type(tags, '$.x')"),
        ("mongodb", "tags", "tags.x"),
        ("mysql", "AS CHAR(64) ARRAY", "_utf8mb4'$.x'"),
        ("mariadb", None, None),
    ],
)
def test_an_index_of_json_is_one_where_the_database_can(
    name: str, elements: str | None, part: str | None
) -> None:
    """Of a list's elements, and of a part beside another key; where not, the other key is left."""
    fields = (
        Field("id", FieldType(Kind.UUID)),
        Field("version", _NUMBER),
        Field("tags", FieldType(Kind.JSON)),
        Field("due", _NUMBER),
    )
    before = Collection("tasks", fields)
    for index, said in (
        (Index("tags"), elements),
        (Index(F.tags["x"].as_(float)), part),
        (Index("due", F.tags["x"].as_(int)), part),
    ):
        after = replace(before, indexes=(index,))
        statements = " ".join(closed(name).explain(Alter(before, after)).statements)
        if said is not None:
            assert said in statements.replace('"', "")
            assert name != "postgresql" or index.terms or "CONCURRENTLY" in statements
        elif len(index.keys) == 1:
            assert not statements
        assert ("due" in statements) is ("due" in index.keys)
