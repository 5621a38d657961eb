"""Filters from untrusted JSON: what a client may ask, and what becomes of everything else."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import field_validator
from tests.unit.readings import (
    ASKED,
    COLLECTION,
    NAMES,
    READINGS,
    Colour,
    Grade,
    Reading,
    a_test,
    read,
    refusal,
    written,
)

from healthstore import Count, DatabaseManager, Entity, F, Filter, MaxLength
from healthstore.entity import to_document
from healthstore.errors import (
    ConfigurationError,
    InvalidRequestError,
    RefusedValueError,
    UnknownFieldError,
)
from healthstore.filters import parse
from healthstore.model.filters import canonical_filter
from healthstore.model.query import ALL, NONE, Operator, Test


class Person(Entity, collection="people"):
    age: int
    name: Annotated[str, MaxLength(100)]
    secret: str = ""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        raise TypeError(name)  # what no filter may ever reach


few = settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# --- what is asked for -----------------------------------------------------------------------


def test_the_example_of_the_documentation_is_the_filter_that_it_looks_like() -> None:
    """Groups, negation and tests become those of a program."""
    data = {
        "and": [
            {"field": "age", "op": ">=", "value": 18},
            {"not": {"field": "name", "op": "startswith", "value": "A"}},
        ]
    }
    where = parse(data, Person, allow=["age", "name"])
    assert where == (F.age >= 18) & ~F.name.startswith("A")


@settings(deadline=None)
@given(ASKED)
def test_a_filter_that_is_written_as_json_and_parsed_is_the_filter(where: Filter) -> None:
    """Each operator and each kind of value has one spelling, which loses nothing."""
    text = json.dumps(written(where))
    assert read(json.loads(text)) == canonical_filter(COLLECTION, where)
    assert read(json.loads(text, parse_float=Decimal)) == canonical_filter(COLLECTION, where)


@pytest.mark.parametrize(
    ("field", "value", "canonical"),
    [
        ("text", "5", "5"),
        ("number", 5, 5),
        ("flag", True, True),
        ("ratio", 5, 5.0),
        ("ratio", Decimal("0.1"), 0.1),
        ("price", "72.5", Decimal("72.5000")),
        ("price", 72, Decimal("72.0000")),
        ("price", 72.5, Decimal("72.5000")),
        ("price", Decimal("72.5"), Decimal("72.5000")),
        ("amount", "123456789012345678.0123456789", Decimal("123456789012345678.0123456789")),
        ("moment", "2026-01-31T08:30:00+01:00", datetime(2026, 1, 31, 7, 30, tzinfo=UTC)),
        ("moment_ms", "2026-01-31T07:30:00.001Z", datetime(2026, 1, 31, 7, 30, 0, 1000, UTC)),
        ("day", "2026-01-31", date(2026, 1, 31)),
        ("clock", "07:30", time(7, 30)),
        ("span", "PT1H30M", timedelta(minutes=90)),
        ("owner", "0f" * 16, UUID("0f" * 16)),
        ("blob", "é", "é".encode()),
        ("level", "low", "low"),
        ("colour", "red", "red"),
        ("grade", 2, 2),
        ("address", "10.0.0.1", "10.0.0.1"),
        ("data", None, None),
        ("number", None, None),
    ],
)
def test_values_are_those_of_the_entity(field: str, value: object, canonical: object) -> None:
    """JSON's spelling of a value, also in a list, becomes what the store compares with."""
    where = read(a_test(field, "==", value))
    assert where == Test(field, Operator.EQ, canonical)  # type: ignore[arg-type]  # of many types
    assert isinstance(where, Test)
    assert type(where.operand) is type(canonical)
    if field != "data":
        listed = read(a_test(field, "in", [value, None]))
        assert isinstance(listed, Test)
        assert listed.operand == tuple(dict.fromkeys((canonical, None)))


@pytest.mark.parametrize("reading", READINGS[:10], ids=lambda reading: str(reading.id.int))
def test_what_a_client_was_sent_it_may_ask_for(reading: Reading) -> None:
    """A value as ``model_dump(mode="json")`` writes it is that value in a filter."""
    sent = reading.model_dump(mode="json", exclude={"blob", "data"})
    stored = to_document(reading)
    for name, value in json.loads(json.dumps(sent)).items():
        assert read(a_test(name, "==", value)) == Test(name, Operator.EQ, stored[name])


def test_a_part_of_a_text_need_be_no_value_of_the_field() -> None:
    """What is compared with is not validated: not as an address, and not by a range."""
    assert read(a_test("email", "endswith", "@example.org")) == F.email.endswith("@example.org")
    assert read(a_test("share", "<", 101)) == (F.share < 101)
    assert parse(a_test("name", "==", "x"), Person, allow=["name"]) == (F.name == "x")


def test_groups_may_be_empty() -> None:
    """All of nothing always holds, one of nothing never."""
    assert read({"and": []}) == ALL
    assert read({"or": []}) == NONE


# --- what it gives ---------------------------------------------------------------------------


@few
@given(st.lists(ASKED, min_size=5, max_size=15))
async def test_a_parsed_filter_gives_what_one_written_by_hand_gives(
    tmp_path_factory: pytest.TempPathFactory, wheres: list[Filter]
) -> None:
    """On memory and on SQLite, by find, count and aggregate."""
    path: Path = tmp_path_factory.mktemp("parsed")
    answers: list[list[object]] = []
    for url in ("memory://", f"sqlite:///{path}/a.db"):
        async with DatabaseManager(url) as db:
            await db.initialize(Reading)
            readings = db.repository(Reading)
            await readings.add_many(READINGS)
            for each in ([*wheres], [read(written(where)) for where in wheres]):
                found: list[object] = []
                for where in each:
                    page = await readings.find(where)
                    assert await readings.count(where) == len(page.items)
                    found.append([reading.id for reading in page.items])
                answers.append(found)
    assert all(each == answers[0] for each in answers)


async def test_a_parsed_filter_is_for_every_verb() -> None:
    """Find, first, exists, count, stream and aggregate take it, beside others."""
    where = read({"or": [a_test("colour", "==", "red"), a_test("grade", "in", [2])]})
    by_hand = (F.colour == Colour.RED) | F.grade.in_([Grade.HIGH])
    async with DatabaseManager("memory://") as db:
        await db.initialize(Reading)
        readings = db.repository(Reading)
        await readings.add_many(READINGS)
        for one, other in ((where, by_hand), (where & (F.number > 0), by_hand & (F.number > 0))):
            assert (await readings.find(one)).items == (await readings.find(other)).items
            assert await readings.first(one) == await readings.first(other)
            assert await readings.count(one) == await readings.count(other) > 0
            streamed = [each.id async for each in readings.stream(one)]
            assert streamed == [each.id async for each in readings.stream(other)]
            assert await readings.aggregate(one, n=Count()) == await readings.aggregate(
                other, n=Count()
            )


# --- what is allowed, and what is told --------------------------------------------------------


def test_without_allow_nothing_is_allowed() -> None:
    """No field may be asked about that is not named."""
    for allow in ([], ["name"]):
        with pytest.raises(UnknownFieldError):
            parse(a_test("age", "==", 1), Person, allow=allow)
    with pytest.raises(UnknownFieldError):
        parse(a_test("age", "==", 1), Person)


@pytest.mark.parametrize(
    "rest",
    [
        {"op": "==", "value": "x"},
        {"op": "==", "value": 1},
        {"op": "in", "value": 1},
        {"op": "is_null"},
        {"op": "is_null", "value": 1},
        {"op": "nothing", "value": 1},
        {"op": "<"},
    ],
)
def test_a_field_that_is_not_allowed_is_one_that_is_not_there(rest: dict[str, object]) -> None:
    """Nothing tells them apart: neither the error, nor what else is wrong."""
    told: list[object] = []
    for name in ("secret", "nothing"):
        with pytest.raises(UnknownFieldError) as error:
            parse({"field": name, **rest}, Person, allow=["name"])
        told.append((str(error.value), vars(error.value)))
    assert told[0] == told[1]
    assert "secret" not in str(told)
    assert "known: name'" in str(told)


def test_an_operator_that_is_not_there_is_refused_with_those_that_are() -> None:
    """The error lists the operators."""
    with pytest.raises(InvalidRequestError) as error:
        read({"not": a_test("text", "has_some", ["a"])})
    assert error.value.hint == (
        "known: ==, !=, <, <=, >, >=, in, not_in, is_null, not_null, contains, startswith, endswith, "
        "has, has_any, has_all"
    )
    assert error.value.field == "text"


@pytest.mark.parametrize(
    "value", ["ASTHMA", ["ASTHMA"], {"ASTHMA": 1}, {"$gt": "ASTHMA"}, "ASTHMA\x00", "ASTHMA\ud800"]
)
def test_an_error_tells_where_and_never_what(value: object) -> None:
    """Field, operator and place are told; no value, nor a key or a name from outside."""
    cases = [a_test(name, op, value) for name in NAMES for op in ("==", "in", "contains", "<")]
    cases += [{"field": "number", "op": "ASTHMA"}, {"field": "ASTHMA", "op": "=="}, {"ASTHMA": 1}]
    refusals = 0
    for data in cases:
        error = refusal({"and": [data]})
        if error is not None:
            refusals += 1
            told = f"{error!s} {error!r} {vars(error)} {error.__context__!r} {error.__cause__!r}"
            assert "ASTHMA" not in told
            assert "at and[0]: " in told
            if "value" in data:
                assert error.field == data["field"]
                assert f"{data['op']} " in told or f"{data['op']}:" in told
    assert refusals > 50


def test_a_value_is_refused_with_its_reason() -> None:
    """The place, the operator, the reason, the field, and what to do."""
    with pytest.raises(RefusedValueError) as error:
        read({"and": [{"or": []}, {"not": a_test("moment", ">=", 1767225600)}]})
    assert str(error.value) == (
        'at and[1].not: >=: expects a text, not int [Reading.moment]: write "2026-01-31T07:30:00Z"'
    )


@pytest.mark.parametrize("allow", ["age", b"age", 5, None, ["nothing"], ["age", ""], [["age"]]])
def test_a_wrong_allow_is_a_mistake_of_the_program(allow: Any) -> None:
    """It is told at once, whatever the client sends, and is no error of the client's."""
    for data in (a_test("age", "==", 1), {"and": []}, None):
        with pytest.raises(ConfigurationError):
            parse(data, Person, allow=allow)


class Recipe(Entity, collection="recipes"):
    """An entity with a list."""

    name: str
    tags: list[str]
    scores: list[float] | None = None


def test_the_elements_of_a_list_are_asked_for() -> None:
    """Has takes a value, has_any and has_all a list; a Decimal of a decoder is a number."""
    allow = ["name", "tags", "scores"]
    cases = (
        (a_test("tags", "has", "vegan"), F.tags.has("vegan")),
        (a_test("tags", "has_any", ["a", "b"]), F.tags.has_any(["a", "b"])),
        (a_test("tags", "has_all", []), F.tags.has_all([])),
        (a_test("scores", "has", Decimal("2.5")), F.scores.has(2.5)),
    )
    for data, wanted in cases:
        assert parse(data, Recipe, allow=allow) == wanted


def test_elements_of_what_is_no_list_are_refused() -> None:
    """So are a value that is none of an element, a list for one, and one value for a list."""
    for data in (
        a_test("name", "has", "a"),
        a_test("tags", "has", None),
        a_test("tags", "has", ["a"]),
        a_test("tags", "has_any", "a"),
        a_test("tags", "has_any", [{}]),
    ):
        with pytest.raises(InvalidRequestError):
            parse(data, Recipe, allow=["name", "tags"])
