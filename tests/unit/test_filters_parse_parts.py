"""Filters from untrusted JSON over parts of JSON that a service allows by name."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from healthstore import Entity, F
from healthstore.entity import collection_of
from healthstore.errors import ConfigurationError, InvalidRequestError, UnknownFieldError
from healthstore.filters import parse
from healthstore.model.filters import canonical_filter
from healthstore.model.query import Filter


class Sample(Entity, collection="samples"):
    code: str
    data: dict[str, Any] | None = None


ALLOW = [
    "code",
    F.data["unit"],
    F.data["weight"].as_(float),
    F.data["tags"],
    F.data["a b"][0].as_(int),
]


def _asked(field: str, op: str, *value: object) -> dict[str, object]:
    return {"field": field, "op": op} | ({"value": value[0]} if value else {})


def _canonical(where: Filter) -> Filter:
    return canonical_filter(collection_of(Sample), where)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (_asked("data.unit", "==", "kg"), F.data["unit"] == "kg"),
        (_asked("data.unit", "==", None), F.data["unit"] == None),  # noqa: E711 - a filter
        (_asked("data.unit", "in", ["kg", 1, None]), F.data["unit"].in_(["kg", 1, None])),
        (_asked("data.unit", "startswith", "k"), F.data["unit"].startswith("k")),
        (_asked("data.unit", "is_null"), F.data["unit"].is_null()),
        (_asked("data.weight", ">", 70), F.data["weight"].as_(float) > 70.0),
        (_asked("data.weight", "<=", Decimal("70.5")), F.data["weight"].as_(float) <= 70.5),
        (_asked("data.weight", "not_null"), F.data["weight"].as_(float).not_null()),
        (_asked("data.tags", "has_any", ["a", True]), F.data["tags"].has_any(["a", True])),
        (_asked('data["a b"][0]', "==", 2), F.data["a b"][0].as_(int) == 2),
    ],
)
def test_an_allowed_part_is_asked_about_by_its_text(data: object, wanted: Filter) -> None:
    """It is the test of the part, of the type that the service gave it."""
    assert parse(data, Sample, allow=ALLOW) == _canonical(wanted)
    assert parse({"not": data}, Sample, allow=ALLOW) == ~_canonical(wanted)


@pytest.mark.parametrize(
    "name",
    ["data", "data.weight.as_(float)", "data.height", "data.unit.x", "data.unit[0]", "data.$where"],
)
def test_any_other_path_does_not_exist(name: str) -> None:
    """Nothing of a name is read as a path: it is one that is allowed, or it is none."""
    with pytest.raises(UnknownFieldError) as error:
        parse(_asked(name, "==", 1), Sample, allow=ALLOW)
    assert "data.unit" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (_asked("data.unit", "==", {"$gt": ""}), "data.unit"),
        (_asked("data.unit", "==", ["kg"]), "data.unit"),
        (_asked("data.unit", "in", [{"$ne": 1}]), "data.unit"),
        (_asked("data.unit", "==", 2**63), "data.unit"),
        (_asked("data.unit", "==", "a\0"), "data.unit"),
        (_asked("data.unit", "<", *(True,)), "data.unit"),
        (_asked("data.unit", "contains", 1), "data.unit"),
        (_asked("data.weight", "==", "70"), "data.weight"),
        (_asked("data.weight", "==", *(True,)), "data.weight"),
        (_asked("data.weight", "==", Decimal("1e999")), "data.weight"),
        (_asked("data.weight", "contains", "7"), "data.weight"),
        (_asked("data.weight", "has", 7), "data.weight"),
        (_asked('data["a b"][0]', "==", 2.5), 'data["a b"][0]'),
        (_asked("data.unit", "in", ["x"] * 1_001), "data.unit"),
    ],
)
def test_a_value_that_a_part_is_not_compared_with_is_refused(data: object, field: str) -> None:
    """With the part and no value: an operator of a database is none here."""
    with pytest.raises(InvalidRequestError) as error:
        parse(data, Sample, allow=ALLOW)
    assert error.value.field == field
    assert error.value.hint
    assert "$" not in str(error.value)


@pytest.mark.parametrize(
    "allow",
    [
        [F.code["x"]],
        [F.data[-1]],
        [F.nothing["x"]],
        [F.data["x"], F.data["x"].as_(int)],
        [F.data.size()],
    ],
)
def test_allow_names_parts_that_there_may_be(allow: list[Any]) -> None:
    """A mistake of the service is told at once, whatever the data is."""
    with pytest.raises(ConfigurationError):
        parse({"and": []}, Sample, allow=allow)


def test_a_text_that_looks_like_a_path_is_a_value() -> None:
    """What stands in a list of values, or in a value, is never looked up."""
    data = json.loads('{"field": "code", "op": "==", "value": "data.weight"}')
    assert parse(data, Sample, allow=ALLOW) == _canonical(F.code == "data.weight")
