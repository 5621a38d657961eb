"""Canonical JSON: the way through C and the walk in Python are one rule."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from healthstore.model import json
from healthstore.model.json import (
    canonical_json,
    canonical_jsons,
    copied_json,
    exact_json,
    exact_jsons,
)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Plain(Enum):
    A = "a"


class Words(str):
    __slots__ = ()


class Steps(int):
    __slots__ = ()


# What the two ways could see differently.
ODD: st.SearchStrategy[object] = st.one_of(
    st.sampled_from(
        [
            *(Colour.RED, Level.HIGH, Plain.A, Words("w"), Steps(4), Decimal("1.5"), UUID(int=1)),
            *(-0.0, 0.0, 1e15, 1e16, 1e22, 5e-324, 2.0**63, float("nan"), float("inf"), True, None),
            *(2**53, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 10**18, 10**19),
            *(
                "\x00",
                "\\u0000",
                "\ud800",
                "-0.0",
                "0" * 19,
                "[" * 70,
                b"bytes",
                (),
                frozenset({1}),
            ),
        ]
    ),
    st.floats(),
    st.integers(),
    st.text(st.characters(), max_size=5),
)
KEYS: st.SearchStrategy[object] = st.one_of(
    st.text(max_size=4), st.sampled_from([1, True, None, Colour.RED, Words("w"), "\x00", "\ud800"])
)


def _nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    objects = st.dictionaries(KEYS, inner, max_size=4)
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        objects,
        objects.map(OrderedDict),
    )


def _outcome(make: Callable[[object], object], value: object) -> object:
    try:
        return repr(make(value))  # which tells types, signs and the order of keys apart
    except (TypeError, ValueError) as error:
        return type(error), str(error)


@given(st.recursive(ODD, _nested, max_leaves=12))
def test_the_fast_way_gives_what_the_walk_gives(value: object) -> None:
    """Each value ends alike both ways: the same value of the same types, or the same error."""
    assert _outcome(canonical_json, value) == _outcome(lambda each: json._walked(each, 0), value)


@given(st.lists(st.recursive(ODD, _nested, max_leaves=6), max_size=4))
def test_values_together_end_as_one_by_one(values: list[object]) -> None:
    """A column gives what each of its values gives, or the error of the first that is refused."""
    for together, one in ((canonical_jsons, canonical_json), (exact_jsons, exact_json)):

        def singly(given: object, one: Callable[[object], object] = one) -> object:
            return [one(each) for each in values]

        assert _outcome(lambda _, make=together: make(values), None) == _outcome(singly, None)


@given(st.recursive(ODD, _nested, max_leaves=12))
def test_a_copy_of_a_canonical_value_is_the_same(value: object) -> None:
    """What is canonical is copied with its types, signs and order."""
    try:
        kept = canonical_json(value)
    except (TypeError, ValueError):
        return
    assert repr(copied_json(kept)) == repr(kept)
