"""What is no filter is refused, however it is made; nothing becomes an operator of a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.readings import (
    ASKED,
    COLLECTION,
    NAMED,
    NAMES,
    Colour,
    Reading,
    a_test,
    read,
    refusal,
    written,
)

from healthstore import DatabaseManager, Entity
from healthstore.adapters.mongo.codec import Codec
from healthstore.adapters.mongo.filters import query
from healthstore.errors import (
    ConfigurationError,
    InvalidRequestError,
)
from healthstore.filters import MAX_BYTES, MAX_DEPTH, MAX_PARTS, MAX_VALUES, parse
from healthstore.model.filters import checked_filter
from healthstore.model.query import MAX_ELEMENTS

# --- what is refused -------------------------------------------------------------------------

DEEP = 100_000


def _deep(wrap: Callable[[object], object]) -> object:
    data: object = a_test("number", "==", 1)
    for _ in range(DEEP):
        data = wrap(data)
    return data


def _within_itself() -> object:
    data: dict[str, object] = {}
    data["and"] = [data]
    return data


HOSTILE: list[object] = [
    None, True, 0, "x", [], {}, [a_test("number", "==", 1)], (), {"and"}, object(),
    {"and": {}}, {"and": None}, {"and": "ab"}, {"and": [1]}, {"and": [[]]}, {"not": []},
    {"not": None}, {"nor": []}, {"$and": []}, {"$or": [{}]}, {"$where": "1"}, {"AND": []},
    {"and": [], "or": []}, {"and": [], "field": "number"}, {1: 2}, {None: []}, {("and",): []},
    {b"and": []}, {"field": "number"}, {"op": "=="}, {"value": 1}, {"op": {"$gt": 1}},
    {"field": "number", "op": "=="}, {"field": "number", "value": 1},
    {"field": "number", "op": "is_null", "value": None},
    {"field": "number", "op": "not_null", "value": 1},
    {"field": "number", "$where": "1"}, {"field": "number", "op": "==", "value": 1, "x": 1},
    {"field": "number", "op": "==", "value": 1, 1: 1}, {"field": "number", "op": "==", 1: 1},
    {"field": "number", "op": "==", "value": 1, "$where": "sleep(1)"},
    *(a_test("number", op, 1) for op in ("$gt", "eq", "=", "", "IN", "not in", "is null", "has")),
    *({"field": "number", "op": op, "value": 1} for op in (None, 1, True, ["=="], {"$gt": 1})),
    *(a_test(name, "==", 1) for name in ("", "numbr", "$where", "data.x", "number ", "__class__")),
    *({"field": name, "op": "==", "value": 1} for name in (None, 1, ["number"], {"$gt": 1})),
    *(a_test("number", "==", value) for value in ("1", 1.0, True, [], [1], {}, {"$gt": ""}, (1,))),
    *(a_test("number", "==", value) for value in (2**63, -(2**63) - 1, 10**10_000, 1e400)),
    *(a_test("flag", "==", value) for value in (0, 1, "true", [True])),
    *(a_test("ratio", ">", value) for value in (float("nan"), float("inf"), True, "1", 2**60)),
    *(a_test("ratio", ">", Decimal(value)) for value in ("NaN", "sNaN", "1e999999999")),
    *(a_test("price", ">", value) for value in (float("nan"), True, "NaN", "x", "1e999999999")),
    *(a_test("price", ">", value) for value in (0.1 + 0.2, "0.00001", "9" * 1_000, 10**100_000)),
    *(a_test("price", ">", value) for value in ([1], {"$numberDecimal": "1"}, "\ud800")),
    *(a_test("text", "==", value) for value in (1, ["a"], {"$ne": ""}, "\x00", "\ud800", b"a")),
    *(a_test("text", "contains", value) for value in (None, 1, ["a"], {"$regex": ""}, "a" * 16_001)),
    *(a_test("moment", "<", value) for value in (0, 1.5, "x", "2026-01-31T07:30:00", "\ud800")),
    *(a_test("moment", "<", value) for value in ("0001-01-01T00:00:00+14:00", {"$date": "x"})),
    a_test("moment_ms", "<", "2026-01-31T07:30:00.0001Z"), a_test("moment", "contains", "2026"),
    *(a_test("day", "<", value) for value in (0, "x", "2026-02-30", "0001-01-01")),
    *(a_test("clock", "<", value) for value in (0, "x", "25:00", "07:30Z")),
    *(a_test("span", "<", value) for value in (0, "x", "P999999999999D", "P999999999D")),
    *(a_test("owner", "==", value) for value in (0, "x", "0f" * 17, {"$uuid": "0f" * 16})),
    *(a_test("blob", "==", value) for value in (0, [0], "\ud800", {"$binary": {}})),
    a_test("blob", "<", "a"), a_test("blob", "contains", "a"),
    *(a_test("level", "==", value) for value in ("LOW", "", 1, {"$gt": ""})),
    a_test("level", "contains", "l"), a_test("colour", "==", "RED"), a_test("grade", "==", "1"),
    *(a_test("data", "==", value) for value in (1, {}, {"$gt": ""}, [])),
    a_test("data", "in", [1]), a_test("data", "in", [{"$gt": ""}]), a_test("data", "<", None),
    *(a_test("number", "in", value) for value in (None, 1, "12", {}, {1: 2}, {1, 2}, (1, 2))),
    *(a_test("number", "in", [value]) for value in ("1", True, [], {}, {"a": []}, 2**63)),
    *(a_test("text", "in", [value]) for value in ([], {"$in": []}, 1, "\x00")),
    a_test("moment", "not_in", [[]]), a_test("owner", "in", [["0f" * 16]]),
]  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_no_filter_is_refused(data: object) -> None:
    """Whatever it is: by one class of error, at its place, also inside of others."""
    for place, whole in (
        ("", data),
        ("not", {"not": data}),
        ("and[1].or[0].not", {"and": [{"or": []}, {"or": [{"not": data}]}]}),
    ):
        with pytest.raises(InvalidRequestError) as error:
            read(whole)
        assert error.value.message.startswith(f"at {place}")
        assert error.value.hint
        assert error.value.entity == "Reading"
        assert error.value.__context__ is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda data: {"not": data},
        lambda data: {"and": [data]},
        lambda data: {"or": [{"and": []}, data]},
        lambda data: {"field": "number", "op": "==", "value": data},
        lambda data: {"field": "text", "op": "in", "value": [data]},
        lambda data: [data],
        lambda data: {"field": data, "op": data},
    ],
)
def test_any_depth_is_refused(wrap: Callable[[object], object]) -> None:
    """Of 100,000 levels no more is looked at than is allowed."""
    data = _deep(wrap)
    with pytest.raises(InvalidRequestError):
        read(data)
    while isinstance(data, dict | list):  # the interpreter frees it level by level, too
        data = next(iter([*data.values()][::-1] if isinstance(data, dict) else data), None)


def test_what_holds_itself_is_refused() -> None:
    """A circle is deeper than every bound."""
    with pytest.raises(InvalidRequestError, match="levels"):
        read(_within_itself())


def test_what_is_shared_is_counted_each_time() -> None:
    """Thirty levels of which each holds the next one twice are more than there may be."""
    data: object = {"and": []}
    for _ in range(MAX_DEPTH - 2):
        data = {"and": [data, data]}
    with pytest.raises(InvalidRequestError, match="1000 parts"):
        read(data)


def _levels(size: int) -> object:
    data: object = {"or": []}
    for _ in range(size - 1):
        data = {"not": data}
    return data


def _split(size: int, values: Callable[[int], Any]) -> object:
    """Return two tests whose lists hold together what is asked for."""
    field = "number" if values is range else "text"
    return {"and": [a_test(field, "in", [*values(part)]) for part in (5, size - 5)]}


@pytest.mark.parametrize(
    ("option", "most", "sized"),
    [
        ("max_depth", MAX_DEPTH, _levels),
        ("max_parts", MAX_PARTS, lambda size: {"or": [{"and": []}] * (size - 1)}),
        ("max_values", MAX_VALUES, lambda size: _split(size, range)),
        ("max_bytes", MAX_BYTES, lambda size: _split(size, lambda part: ["x" * part])),
        ("max_bytes", MAX_BYTES, lambda size: a_test("text", "==", "é" * (size // 2) + "x" * (size % 2))),
    ],
)  # fmt: skip
def test_bounds_hold_and_can_be_lowered(
    option: str, most: int, sized: Callable[[int], object]
) -> None:
    """What is as large as a bound is taken, and refused when it is one larger."""
    for bound, options in ((most, {}), (12, {option: 12})):
        assert read(sized(bound), **options) is not None
        with pytest.raises(InvalidRequestError, match="more than"):
            read(sized(bound + 1), **options)
    for wrong in (most + 1, 0, -1, True, 1.0, None, "1"):
        with pytest.raises(ConfigurationError, match=option):
            read({"and": []}, **{option: wrong})


def test_elements_that_are_looked_for_have_a_bound() -> None:
    """Of all tests together as many as every filter takes: what is parsed is not refused later."""
    half = a_test("data", "has_any", [*range(MAX_ELEMENTS // 2)])
    full = read({"or": [half, {"not": half}]})
    checked_filter(COLLECTION, full)
    for one in (a_test("data", "has", 1), a_test("data", "has_all", ["x"])):
        with pytest.raises(InvalidRequestError, match="elements to look for") as error:
            read({"or": [half, {"not": half}, one]})
        assert error.value.message.startswith("at or[2]:")


class _Other(Entity, collection="others"):
    number: int = 0


def test_what_names_no_field_of_the_entity_is_not_allowed() -> None:
    """An attribute of another entity, a list and a number are told as what is no field."""
    for named in (_Other.number, ["number"], 1):
        with pytest.raises(ConfigurationError, match="no field"):
            parse({"and": []}, Reading, allow=[named])  # type: ignore[list-item]  # is refused


# --- whatever comes --------------------------------------------------------------------------

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs"]), max_size=2)
    | st.sampled_from([2**63, 10**4_000, "NaN", "$gt", "2026-01-01", "2026-01-01T00:00:00Z", "P1D"])
    | st.sampled_from(["1", "1.5", "0f" * 16, "red", "low", "07:30"])
)
_anything = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["and", "or", "not", "field", "op", "value", "$where"]) | _scalars,
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
_near_tests = st.fixed_dictionaries(
    {
        "field": st.sampled_from(NAMES) | _anything,
        "op": st.sampled_from([*NAMED.values(), "$gt", "has"]) | _anything,
    },
    optional={"value": _scalars | st.lists(_scalars, max_size=4) | _anything},
)
_near_filters = st.recursive(
    _near_tests | ASKED.map(written),
    lambda inner: (
        st.fixed_dictionaries({"and": st.lists(inner, max_size=4)})
        | st.fixed_dictionaries({"or": st.lists(inner, max_size=4)})
        | st.fixed_dictionaries({"not": inner})
        | st.dictionaries(st.sampled_from(["and", "or", "not", "field"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(_near_filters | _anything, min_size=1, max_size=10))
async def test_anything_is_a_filter_that_runs_or_is_refused(given_data: list[object]) -> None:
    """No object from JSON raises another error, and what is parsed is answered."""
    async with DatabaseManager("memory://") as db:
        await db.initialize(Reading)
        readings = db.repository(Reading)
        await readings.add(Reading(text="a", number=1, colour=Colour.RED))
        for data in given_data:
            error = refusal(data)
            if error is not None:
                assert error.message.startswith("at ")
                continue
            where = read(data)
            assert await readings.count(where) + await readings.count(~where) == 1


# --- MongoDB ---------------------------------------------------------------------------------

CODEC = Codec(COLLECTION)
OPERATORS = ({"$gt": ""}, {"$ne": None}, {"$regex": ".*"}, {"$where": "1"}, [{"$gt": ""}], {})


@pytest.mark.parametrize("name", NAMES)
def test_an_object_is_never_a_value(name: str) -> None:
    """What looks like an operator of MongoDB is refused for every field and operator."""
    for op in NAMED.values():
        for value in OPERATORS:
            assert refusal(a_test(name, op, value)) is not None
            assert refusal(a_test(name, op, [value])) is not None


@pytest.mark.parametrize("text", ["$gt", "$where", '{"$gt": ""}', "$number", "$$ROOT", ".*", "a.b"])
def test_a_text_that_looks_like_an_operator_is_a_text(text: str) -> None:
    """It reaches MongoDB as the operand of an operator that we wrote, and of no expression."""
    for op in ("==", "!=", "<", ">=", "in", "not_in", "contains", "startswith", "endswith"):
        value = [text] if op in {"in", "not_in"} else text
        where = read(a_test("text", op, value))
        asked_of_mongo = query(checked_filter(COLLECTION, where), CODEC)
        keys = set(_keys(asked_of_mongo))
        assert keys <= {"text", "$and", "$or", "$not", *_COMPARISONS}
        assert "$expr" not in keys
        assert text not in keys or text == "$gt"


_COMPARISONS = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$regex")


def _keys(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        for key, inner in part.items():
            yield key
            yield from _keys(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _keys(inner)
