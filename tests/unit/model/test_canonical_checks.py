"""Checks: canonical from the moment they are defined, and refused where no database keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import cast

import pytest
from hypothesis import given, settings

from healthstore.errors import ConfigurationError
from healthstore.model.catalog import definition, differences, from_definition, to_document
from healthstore.model.query import MAX_PATTERN, F, Filter, Operator, Test
from healthstore.model.schema import Check, Collection, Field
from healthstore.model.values import FieldType, Json, Kind, Value
from healthstore.testing.contract._samples import EVERYTHING
from healthstore.testing.strategies import filters


class Plain(Enum):
    """An enum whose members are no text."""

    NEW = "new"
    OPEN = "open"


class Text(StrEnum):
    """An enum whose members are text."""

    NEW = "new"
    OPEN = "open"


class Level(IntEnum):
    """An enum of numbers."""

    LOW = 1
    HIGH = 2


ID = Field("id", FieldType(Kind.UUID))
VERSION = Field("version", FieldType(Kind.INTEGER))
ENUM = FieldType(Kind.ENUM, choices=("new", "open", "closed"))
CENTS = FieldType(Kind.DECIMAL, digits=5, places=2)


def ruled(kind: FieldType, *rules: Filter) -> Collection:
    """Return a definition with one field, ``a``, and checks over it."""
    checks = tuple(Check(f"c{number}", rule) for number, rule in enumerate(rules))
    return Collection("things", (ID, VERSION, Field("a", kind)), checks=checks, entity="Thing")


def member(value: object) -> Value:
    """Return a value that a caller without a type checker may give."""
    return cast(Value, value)


SPELLINGS: tuple[tuple[FieldType, Filter, Filter], ...] = (
    (CENTS, F.a > Decimal(0), F.a > 0),
    (CENTS, F.a > Decimal("1.1"), F.a > Decimal("1.10")),
    (CENTS, F.a > Decimal("-0"), F.a > Decimal("0.00")),
    (FieldType(Kind.FLOAT), F.a >= 1, F.a >= 1.0),
    (FieldType(Kind.FLOAT), F.a >= -0.0, F.a >= 0.0),
    (ENUM, F.a.in_([Text.NEW, Text.OPEN]), F.a.in_(["open", "new", "open"])),
    (ENUM, F.a != member(Plain.NEW), F.a != "new"),
    (FieldType(Kind.INTEGER), F.a >= Level.HIGH, F.a >= 2),
    (FieldType(Kind.INTEGER), F.a.not_in([3, None, 1, 3]), F.a.not_in([1, 3, None])),
    (FieldType(Kind.BYTES), F.a != member(bytearray(b"\x00a")), F.a != b"\x00a"),
    (
        FieldType(Kind.DATETIME),
        F.a > datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))),
        F.a > datetime(2026, 1, 1, tzinfo=UTC),
    ),
    (
        FieldType(Kind.TEXT, max_length=3),
        ~(F.a.in_(["longer", "b"]) | (F.a == "c")),
        ~(F.a.in_(["b", "longer"]) | (F.a == "c")),
    ),
)


@pytest.mark.parametrize(("kind", "one", "other"), SPELLINGS)
def test_two_spellings_are_one_definition(kind: FieldType, one: Filter, other: Filter) -> None:
    """However a value is spelled, the definition, its fingerprint and its JSON are the same."""
    first, second = ruled(kind, one), ruled(kind, other)
    assert first == second
    assert hash(first) == hash(second)
    assert first.fingerprint == second.fingerprint
    assert repr(first.checks) == repr(second.checks)
    assert to_document(first) == to_document(second)
    assert from_definition(definition(first)) == second
    assert differences(first, second) == ()


def test_a_definition_as_it_was_stored_before_is_the_same() -> None:
    """A catalog row with values in another spelling, order and number is read as equal."""
    wanted = ruled(CENTS, F.a.in_([Decimal(1), Decimal(2)]), F.a > 0)
    stored = definition(wanted)
    rules = cast("list[dict[str, dict[str, Json]]]", stored["checks"])
    rules[0]["rule"]["operand"] = [{"$numberDecimal": text} for text in ("2", "1.0", "2.0")]
    rules[1]["rule"]["operand"] = {"$numberDecimal": "0E+1"}
    assert definition(wanted) != stored
    assert from_definition(stored) == wanted


REFUSED: dict[str, tuple[FieldType, Filter]] = {
    "a search in JSON": (FieldType(Kind.JSON), F.a.contains("x")),
    "JSON that is compared": (FieldType(Kind.JSON), F.a == 1),
    "a search in a number": (FieldType(Kind.INTEGER), F.a.startswith("1")),
    "an order of bytes": (FieldType(Kind.BYTES), F.a > b"a"),
    "an order of JSON": (FieldType(Kind.JSON), F.a < None),  # type: ignore[operator]  # refused
    "another type": (FieldType(Kind.INTEGER), F.a > "1"),
    "a bool for a number": (FieldType(Kind.INTEGER), F.a > True),
    "a member of another enum": (ENUM, F.a == member(Level.LOW)),
    "an enum's member for text": (FieldType(Kind.TEXT), F.a == Text.NEW),
    "an unknown choice": (ENUM, F.a != "lost"),
    "U+0000": (FieldType(Kind.TEXT), F.a != "a\x00"),
    "a lone surrogate": (FieldType(Kind.TEXT), F.a.contains("\ud800")),
    "a naive instant": (FieldType(Kind.DATETIME), F.a > datetime(2026, 1, 1)),  # noqa: DTZ001 - refused
    "a number with more places": (CENTS, F.a > Decimal("0.001")),
    "a search for much text": (FieldType(Kind.TEXT), ~F.a.contains("." * (MAX_PATTERN // 2 + 1))),
    "an end of much text": (FieldType(Kind.TEXT), F.a.endswith("é" * (MAX_PATTERN // 2 + 1))),
    "a list that is none": (FieldType(Kind.TEXT), Test("a", Operator.IN, "abc")),
    "an unknown test": (FieldType(Kind.TEXT), Test("a", cast(Operator, "like"), "x")),
    "no filter": (FieldType(Kind.TEXT), cast(Filter, "a > 1")),
    "a rule with thousands of parts": (
        FieldType(Kind.INTEGER),
        F.a.in_(range(100_001)),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_not_every_database_keeps_is_refused_where_it_is_declared(case: str) -> None:
    """The error names the check, and the field if one is to blame; it quotes no value."""
    kind, rule = REFUSED[case]
    with pytest.raises(ConfigurationError) as refused:
        ruled(kind, rule)
    assert "'c0'" in refused.value.message
    assert refused.value.entity == "Thing"
    assert refused.value.hint
    assert refused.value.field in {"a", None}


CHANGED: dict[str, tuple[Filter, Filter, str]] = {
    "another value": (F.a > 1, F.a > 2, "check c0 compares with other values: a > ?"),
    "another test": (F.a > 1, F.a >= 1, "check c0 was a > ?, is a >= ?"),
    "another number of values": (F.a.in_([1]), F.a.in_([1, 2]), "was a in 1 value, is a in 2"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_check_is_told_without_its_values(case: str) -> None:
    """The difference between two definitions says which check differs, and how."""
    before, after, words = CHANGED[case]
    kind = FieldType(Kind.INTEGER)
    (told,) = differences(ruled(kind, before), ruled(kind, after))
    assert words in told
    assert differences(ruled(kind), ruled(kind, after))[0].startswith("check c0 is new: a ")
    assert differences(ruled(kind, before), ruled(kind)) == ("check c0 is gone",)


def test_unequal_definitions_always_have_a_difference() -> None:
    """Another name is told, too; another order of the checks is the same definition."""
    first, second = F.a > 1, F.a < 9
    one = ruled(FieldType(Kind.INTEGER), first, second)
    reordered = Collection(one.name, one.fields, checks=one.checks[::-1])
    assert reordered == one
    assert differences(one, reordered) == ()
    renamed = Collection("others", one.fields, checks=one.checks)
    assert differences(one, renamed) == ("the name was things, is others",)


@settings(deadline=None, max_examples=200)
@given(filters(EVERYTHING, matched=False))
def test_any_definition_survives_its_json_and_is_canonical(rule: Filter) -> None:
    """What is read back from a catalog is equal, to the type of each value, and made no other."""
    made = replace(EVERYTHING, checks=(Check("any_rule", rule),))
    again = from_definition(definition(made))
    assert again == made
    assert repr(again.checks) == repr(made.checks)
    assert again.fingerprint == made.fingerprint
    assert repr(replace(made).checks) == repr(made.checks)
    assert differences(made, again) == ()
