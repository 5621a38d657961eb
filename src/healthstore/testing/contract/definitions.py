"""Definitions: a rule is the same however it is spelled, and holds as the evaluator reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple, cast
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings

from healthstore.abc import Backend
from healthstore.errors import CheckError
from healthstore.model.catalog import CATALOG, catalog_id, to_document
from healthstore.model.description import fingerprint
from healthstore.model.evaluate import matches
from healthstore.model.ops import Ensure, Get, Insert, Replace
from healthstore.model.query import F, Filter, Not, Operator, Test
from healthstore.model.schema import Check, Collection, Field
from healthstore.model.values import Document, FieldType, Json, Kind, Value
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import EDGES, EVERYTHING, every_row, ids, stored
from healthstore.testing.strategies import filters

__all__ = ("SPELLED", "Spelled", "TestDefinitions")

_ID = Field("id", FieldType(Kind.UUID))
_VERSION = Field("version", FieldType(Kind.INTEGER))


class _Plain(Enum):
    """An enum whose members are no text."""

    LOW = "low"
    HIGH = "High"


class _Text(StrEnum):
    """An enum whose members are text."""

    LOW = "low"
    HIGH = "High"


class _Number(IntEnum):
    """An enum of numbers."""

    ONE = 1
    TWO = 2


class _DriverUUID(UUID):
    """A UUID of a class of its own, as some drivers make them."""


class _DriverDate(date):
    """A date of a class of its own."""


class _DriverDuration(timedelta):
    """A duration of a class of its own."""


class Spelled(NamedTuple):
    """A rule over one field of EVERYTHING in two spellings, and values on either side of it."""

    field: str
    one: Filter
    other: Filter
    accepted: tuple[Value, ...]
    refused: tuple[Value, ...]

    def collection(self, name: str, rule: Filter) -> Collection:
        """Return a collection whose one check is one of the spellings."""
        field = Field(self.field, EVERYTHING.field(self.field).type, nullable=True)
        check = Check("as_spelled", rule)
        return Collection(name, (_ID, _VERSION, field), checks=(check,), entity="Spelled")

    def documents(self, values: Sequence[Value]) -> tuple[Document, ...]:
        """Return a document for each value."""
        return tuple({"id": uuid4(), "version": 1, self.field: value} for value in values)


def _given(value: object) -> Value:
    """Return a value as a caller without a type checker may give it."""
    return cast(Value, value)


_BERLIN = ZoneInfo("Europe/Berlin")
_SUMMER = datetime(2026, 7, 1, 2, 30, tzinfo=_BERLIN)  # 00:30 UTC
_UUID = UUID("2227605c-0a0d-4908-8706-050403020100")  # bytes that a statement could misread
_LONG = "é" * 150  # longer than the field that it is compared with
_QUOTES = 'it\'s "5%" \\ :x ?'

SPELLED: Mapping[str, Spelled] = {
    "an int for a decimal": Spelled(
        "price",
        F.price > 0,
        F.price > Decimal("-0.0"),
        (Decimal("0.0001"), Decimal("99999999.9999"), None),
        (Decimal("0.0000"), Decimal("-0.0001")),
    ),
    "places of a long decimal": Spelled(
        "amount",
        F.amount <= Decimal("1E-10"),
        F.amount <= Decimal("0.0000000001"),
        (Decimal("0.0000000001"), Decimal("-999999999999999999.9999999999")),
        (Decimal("0.0000000002"), Decimal("999999999999999999.9999999999")),
    ),
    "an int for a float": Spelled(
        "ratio", F.ratio >= 1, F.ratio >= 1.0, (1.0, 1.0000000000000002), (0.9999999999999999, -1.0)
    ),
    "minus zero": Spelled(
        "ratio", ~(F.ratio > -0.0), ~(F.ratio > 0.0), (0.0, -5e-324), (5e-324, 1.0)
    ),
    "members of a text enum": Spelled(
        "level",
        F.level.in_([_Text.HIGH, _Text.LOW]),
        F.level.in_(["low", "High", "low"]),
        ("low", "High", None),
        ("mid", "äußerst"),
    ),
    "a member of a plain enum": Spelled(
        "level", F.level != _given(_Plain.LOW), F.level != "low", ("High", "mid"), ("low",)
    ),
    "a member of an enum of numbers": Spelled(
        "number", F.number >= _Number.TWO, F.number >= 2, (2, 2**63 - 1), (1, -(2**63))
    ),
    "a list in another order": Spelled(
        "number",
        F.number.not_in([2**53 + 1, None, -1, 2**53 + 1]),
        F.number.not_in([-1, 2**53 + 1, None]),
        (2**53, 1),
        (2**53 + 1, -1),
    ),
    "an instant in another zone": Spelled(
        "moment",
        F.moment >= _SUMMER,
        F.moment >= datetime(2026, 7, 1, 0, 30, tzinfo=UTC),
        (datetime(2026, 7, 1, 0, 30, tzinfo=UTC), datetime(2026, 7, 1, 2, 29, tzinfo=UTC)),
        (datetime(2026, 7, 1, 0, 29, 59, 999_999, tzinfo=UTC),),
    ),
    "an instant of milliseconds in another zone": Spelled(
        "moment_ms",
        F.moment_ms == _SUMMER,
        F.moment_ms == datetime(2026, 7, 1, 0, 30, tzinfo=UTC),
        (datetime(2026, 7, 1, 0, 30, tzinfo=UTC),),
        (
            datetime(2026, 7, 1, 2, 30, tzinfo=UTC),
            datetime(2026, 7, 1, 0, 30, 0, 1_000, tzinfo=UTC),
        ),
    ),
    "a fold of a time": Spelled(
        "clock",
        F.clock < time(12, 0, 0, 1, fold=1),
        F.clock < time(12, 0, 0, 1),
        (time(12), time(0)),
        (time(12, 0, 0, 1), time(23, 59, 59, 999_999)),
    ),
    "a date of another class": Spelled(
        "day",
        F.day.in_([_DriverDate(2024, 2, 29), date(1, 1, 2)]),
        F.day.in_([date(1, 1, 2), date(2024, 2, 29)]),
        (date(1, 1, 2), date(2024, 2, 29)),
        (date(2024, 2, 28), date(9999, 12, 30)),
    ),
    "a duration in other units": Spelled(
        "span",
        F.span.between(timedelta(minutes=-90), _DriverDuration(hours=839)),
        F.span.between(timedelta(hours=-1, minutes=-30), timedelta(days=34, hours=23)),
        (timedelta(hours=839), timedelta(seconds=-5_400)),
        (timedelta(hours=839, microseconds=1), timedelta(seconds=-5_400, microseconds=-1)),
    ),
    "a flag that is listed twice": Spelled(
        "flag", F.flag.in_([True, True]), F.flag.in_([True]), (True, None), (False,)
    ),
    "bytes of another type": Spelled(
        "blob",
        F.blob.in_([_given(bytearray(b"\\x61")), b"\0", b"'"]),
        F.blob.in_([b"'", b"\0", b"\\x61", b"'"]),
        (b"\\x61", b"\0", b"'", None),
        (b"a", b"", b"\0\0", b"\\x62"),
    ),
    "a UUID of another class": Spelled(
        "owner",
        F.owner != _DriverUUID(int=_UUID.int),
        F.owner != _UUID,
        (UUID(int=_UUID.int + 1), UUID(int=0)),
        (_UUID,),
    ),
    "a text longer than its field": Spelled(
        "label",
        F.label.in_([_LONG, _QUOTES]) | F.label.startswith("a"),
        F.label.in_([_QUOTES, _LONG, _QUOTES]) | F.label.startswith("a"),
        (_QUOTES, "a", "a\\"),
        ("é" * 100, "A", "it''s", ""),
    ),
}

# A rule of each kind of test is made with each of these, and held against each of them.
_TEXTS = ("", "a", "A", "a ", "é", "e\u0301", "\U0001f600", "'", '"', "\\", "%", "\n", "\\'", ":x")
_OPERANDS: Mapping[str, tuple[Value, ...]] = {
    **EDGES,
    "text": (*_TEXTS, "x' OR 1=1 --", "%s", "%(x)s", "\x01", "\uffff", "$1", "?"),
    "label": _TEXTS,
}
_COMPARED = (Operator.EQ, Operator.NE)
_RANKED = (*_COMPARED, Operator.LT, Operator.LE, Operator.GT, Operator.GE)
_SEARCHED = (Operator.CONTAINS, Operator.STARTS, Operator.ENDS)
_ROWS = every_row(12)
_GROUP = 60  # rules in one collection


def _rules(field: str) -> Iterator[Filter]:
    """Yield each kind of test of a field with each operand, and lists of them, both ways."""
    kind, operands = EVERYTHING.field(field).type, _OPERANDS[field]
    operators = _RANKED if kind.ordered else _COMPARED
    if kind.kind is Kind.TEXT:
        operators = (*operators, *_SEARCHED)
    for operand in operands:
        yield from (Test(field, operator, operand) for operator in operators)
    lists: Sequence[Filter] = (F[field].in_(operands[1:]), F[field].in_(operands[:1]))
    yield from (*lists, *map(Not, lists))
    if kind.kind is Kind.TEXT:
        yield from (Not(Test(field, operator, operands[1])) for operator in _SEARCHED)


def _fresh() -> str:
    """Return a collection's name that no store has."""
    return f"made_{uuid4().hex[:12]}"


class TestDefinitions(Contract):
    """What a definition says is enforced exactly, and is one thing in every spelling."""

    @pytest.mark.parametrize("case", SPELLED)
    async def test_two_spellings_are_one_definition(self, store: Backend, case: str) -> None:
        """A store that was made with one spelling is there for the other, and enforces it."""
        spelled, name = SPELLED[case], _fresh()
        first = spelled.collection(name, spelled.one)
        second = spelled.collection(name, spelled.other)
        await store.execute(Ensure((first,)))
        assert (await store.execute(Ensure((second,)))).present == (name,)
        (row,) = await store.execute(Get(CATALOG, (catalog_id(name),)))
        assert row == to_document(second)
        accepted = spelled.documents(spelled.accepted)
        for document in accepted:
            await store.execute(Insert(second, (document,)))
        for document in spelled.documents(spelled.refused):
            with pytest.raises(CheckError) as error:
                await store.execute(Insert(second, (document,)))
            assert "as_spelled" in error.value.message
        assert sorted(ids(await stored(store, first))) == sorted(ids(accepted))

    async def test_a_definition_that_was_stored_in_another_spelling_is_the_same(
        self, store: Backend
    ) -> None:
        """What a release before canonical checks wrote into the catalog is still the entity's."""
        spelled, name = SPELLED["an int for a decimal"], _fresh()
        things = spelled.collection(name, spelled.one)
        await store.execute(Ensure((things,)))
        row = to_document(things)
        described = cast("dict[str, Json]", row["definition"])
        rule: Json = {"field": "price", "test": ">", "operand": {"$numberDecimal": "0"}}
        assert described["checks"] != [{"name": "as_spelled", "rule": rule}]
        described["checks"] = [{"name": "as_spelled", "rule": rule}]
        await store.execute(Replace(CATALOG, ({**row, "fingerprint": fingerprint(described)},)))
        assert (await store.execute(Ensure((things,)))).present == (name,)

    @proves("C1", "C8")
    @pytest.mark.parametrize("field", [name for name in EDGES if name != "data"])
    async def test_a_check_accepts_what_its_rule_accepts(self, store: Backend, field: str) -> None:
        """Each test with each edge of a kind refuses its nearest values and accepts the others.

        Each rule is the check of one number only, so that one collection tries many rules.
        """
        rules = tuple(_rules(field))
        for start in range(0, len(rules), _GROUP):
            await self._enforces(store, field, rules[start : start + _GROUP])

    async def _enforces(self, store: Backend, field: str, rules: Sequence[Filter]) -> None:
        which = Field("which", FieldType(Kind.INTEGER))
        tested = Field(field, EVERYTHING.field(field).type, nullable=True)
        checks = tuple(Check(f"rule_{at}", (F.which != at) | rule) for at, rule in enumerate(rules))
        things = Collection(_fresh(), (_ID, _VERSION, which, tested), checks=checks)
        await store.execute(Ensure((things,)))
        sound: list[Document] = []
        for at, rule in enumerate(rules):
            broken: list[Document] = []
            for value in (*_OPERANDS[field], None):
                row: Document = {"id": uuid4(), "version": 1, "which": at, field: value}
                (sound if value is None or matches(rule)(row) else broken).append(row)
            for row in (broken[at % len(broken) :] or broken)[:2] if broken else ():
                with pytest.raises(CheckError) as error:
                    await store.execute(Insert(things, (row,)))
                assert f"'rule_{at}'" in error.value.message, rule
        await store.execute(Insert(things, tuple(sound), atomic=store.capabilities.transactions))
        assert len(await stored(store, things)) == len(sound)

    @settings(laws, max_examples=25)
    @given(filters(EVERYTHING, _ROWS, matched=False))
    async def test_any_rule_is_enforced_as_the_evaluator_reads_it(
        self, store: Backend, rule: Filter
    ) -> None:
        """Any combination of tests accepts the documents that it holds for, and no other."""
        things = Collection(_fresh(), EVERYTHING.fields, checks=(Check("any_rule", rule),))
        await store.execute(Ensure((things,)))
        holds = matches(things.rules["any_rule"])
        accepted = tuple(row for row in _ROWS if holds(row))
        await store.execute(Insert(things, accepted, atomic=store.capabilities.transactions))
        for row in [row for row in _ROWS if not holds(row)][:3]:
            with pytest.raises(CheckError):
                await store.execute(Insert(things, (row,)))
        assert ids(await stored(store, things)) == ids(accepted)
