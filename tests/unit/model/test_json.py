"""Canonical JSON: the way through C and the walk in Python are one rule."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from uuid import UUID

import pytest
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
    assert _outcome(canonical_json, value) == _outcome(json._by_walk, value)


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


def nested(levels: int, leaf: object = 1) -> object:
    """Return a list in a list in a list."""
    value = leaf
    for level in range(levels):
        value = {"]}[{": value} if level % 2 else [value, ']]]]\\"[[[[']
    return value


def itself() -> object:
    """Return an object that holds itself."""
    value: dict[str, object] = {"name": "canary-5ecret"}
    value["more"] = [{"back": value}]
    return value


def shared(levels: int) -> object:
    """Return what has a few parts, each of them twice: written, it has two to that power."""
    value: object = "canary-5ecret"
    for _ in range(levels):
        value = {"left": value, "right": value}
    return value


REFUSED: list[tuple[object, str]] = [
    (float("nan"), "holds NaN or infinity; only finite numbers can be kept"),
    (
        {"a": 1, "b": [1, {"c": float("-inf")}]},
        "holds NaN or infinity; only finite numbers can be kept, at part 2.2.1",
    ),
    (
        {"a": {"canary-5ecret\ud800": 1}},
        "holds a lone surrogate, which is not valid Unicode, in a key, at part 1",
    ),
    (
        ["x", ["canary-5ecret\ud800"]],
        "holds a lone surrogate, which is not valid Unicode, at part 2.1",
    ),
    ({"a\x00": 1}, "holds U+0000, which PostgreSQL cannot store, in a key"),
    ([1, 2**63], "holds an integer beyond signed 64 bits, at part 2"),
    ([{1: 2}], "expects str as the key of a JSON object, not int, at part 1"),
    ([b"canary-5ecret"], "expects a JSON value, not bytes, at part 1"),
    (itself(), "holds itself, at part 2.1.1"),
    (shared(22), f"takes more than {json.MOST_BYTES} bytes as JSON"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=[each for _, each in REFUSED])
@pytest.mark.parametrize("make", [canonical_json, exact_json])
def test_a_refusal_says_what_is_wrong_and_where(
    make: Callable[[object], object], value: object, reason: str
) -> None:
    """The true reason, and the way to it in numbers: a key may be as private as a value."""
    with pytest.raises((TypeError, ValueError)) as error:
        make(value)
    assert str(error.value) == reason


@pytest.mark.parametrize("levels", [65, 100, 400, 2_000, 100_000])
def test_what_is_nested_too_deep_is_told_so(levels: int) -> None:
    """However deep it is: no recursion of Python's or of a library's is the reason."""
    with pytest.raises(ValueError, match="nested deeper than 64 levels, at part 1"):
        canonical_json(nested(levels))


@pytest.mark.parametrize("levels", [1, 63, 64])
def test_what_is_not_nested_too_deep_is_kept(levels: int) -> None:
    """Up to 64 levels, whatever brackets stand in texts and keys."""
    value = nested(levels)
    assert canonical_json(value) == value


def test_what_is_shared_is_written_once_to_find_that_it_is_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A value too large as JSON is neither read back, nor compared, nor walked."""

    def never(*_: object) -> None:
        raise AssertionError

    for name in ("_as_text", "_unpack_checked", "_walked"):
        monkeypatch.setattr(json, name, never)
    with pytest.raises(ValueError, match="bytes as JSON"):
        canonical_json(shared(22))
