"""Terms: what a part of JSON is as a value of one type."""

from __future__ import annotations

from typing import Any

import pytest

from healthstore.errors import InvalidRequestError
from healthstore.model.evaluate import term_value
from healthstore.model.parts import checked_term
from healthstore.model.query import F, Term
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind

THINGS = Collection(
    "things",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("data", FieldType(Kind.JSON), nullable=True),
        Field("code", FieldType(Kind.TEXT, max_length=40)),
    ),
)


@pytest.mark.parametrize(
    ("type_", "given", "wanted"),
    [
        *((int, 2, 2), (int, 2.0, 2), (int, 2.5, None), (int, True, None), (int, "2", None)),
        *((int, 2.0**63, None), (int, -(2.0**63), -(2**63)), (int, 1e300, None)),
        *((float, 2, 2.0), (float, 2**53 + 1, 2.0**53), (float, False, None), (float, "1", None)),
        *((str, "a", "a"), (str, "", ""), (str, 1, None), (str, ["a"], None), (str, None, None)),
        *((bool, True, True), (bool, False, False), (bool, 1, None), (bool, "true", None)),
    ],
)
def test_a_term_is_a_value_of_its_type_or_none(
    type_: type[int | float | str | bool], given: Any, wanted: Any
) -> None:
    """An int and a float are one number; a bool is none."""
    term = F.data["x"].as_(type_).term
    found = term_value({"data": {"x": given}}, term)
    assert (type(found), found) == (type(wanted), wanted)
    assert term_value({"data": {"y": given}}, term) is None
    assert term_value({"data": None}, term) is None


def test_a_term_has_the_text_of_its_path() -> None:
    """That is the name of its column; its key tells one type from another."""
    one, other = F.data["weight"].as_(float).term, F.data["weight"].as_(int).term
    assert str(one) == str(other) == "data.weight"
    assert one != other
    assert (one.key, other.key) == ("data.weight.as_(float)", "data.weight.as_(int)")
    assert str(F.data["a b"][0]["ü"].as_(str).term) == 'data["a b"][0]["ü"]'
    assert repr(F.data["weight"].as_(float)) == "F.data.weight.as_(float)"
    assert {one: 1}[F.data["weight"].as_(float).term] == 1


def test_a_term_is_checked_against_its_collection() -> None:
    """It leads into a field of JSON, by a path that there may be, to one of four types."""
    good = F.data["x"].as_(int).term
    assert checked_term(THINGS, good) == good
    for wrong in (
        F.code["x"].as_(int).term,
        F.data[-1].as_(int).term,
        F.data["a\0"].as_(int).term,
        Term("data", (), Kind.INTEGER),
        Term("data", ("x",), Kind.JSON),
        Term("data", ("x",), Kind.UUID),
    ):
        with pytest.raises(InvalidRequestError) as error:
            checked_term(THINGS, wrong)
        assert error.value.field == wrong.field
        assert error.value.hint
