"""Lines of a backup: hs-ejson/1 to the letter, and read back without loss or leniency."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.transfer.samples import EVERYTHING, READINGS, everything, exact, reading

from healthstore.model.values import Document, Json
from healthstore.model.wire import to_tagged
from healthstore.testing.strategies import documents
from healthstore.transfer.codec import MALFORMED, LineDecoder, LineEncoder


@given(st.lists(documents(EVERYTHING), min_size=1, max_size=5))
@settings(deadline=None)
def test_lines_are_those_of_the_wire_format(rows: list[Document]) -> None:
    """The fast path writes what ``wire.to_tagged`` and plain JSON write."""
    expected = [
        msgspec.json.encode(
            {
                field.name: None
                if (value := row[field.name]) is None
                else to_tagged(field.type)(value)
                for field in EVERYTHING.fields
            }
        )
        for row in rows
    ]
    assert LineEncoder(EVERYTHING).lines(rows) == expected


@given(st.lists(documents(EVERYTHING), min_size=1, max_size=5))
@settings(deadline=None)
def test_documents_come_back_from_their_lines(rows: list[Document]) -> None:
    """Every value, of the same type, and in the same order of fields."""
    lines = LineEncoder(EVERYTHING).lines(rows)
    assert not any(b"\n" in line for line in lines)
    read = LineDecoder(EVERYTHING).rows(lines)
    assert exact(read) == exact(rows)
    assert all(tuple(row) == EVERYTHING.names for row in read)


def test_a_line_never_changes_between_releases() -> None:
    """A backup of today is read for ever."""
    (line,) = LineEncoder(EVERYTHING).lines([everything(1)])
    assert line.decode() == (
        '{"id":{"$uuid":"019b0000-0000-7000-8000-000000000001"},"version":1,'
        '"text":"line\\nbreak, \\"quotes\\" and 😀 1","number":{"$numberLong":"9007199254740993"},'
        '"flag":false,"ratio":0.14285714285714285,"price":{"$numberDecimal":"0.0001"},'
        '"amount":{"$numberDecimal":"-1E-10"},"moment":{"$date":"2026-01-01T00:00:00.000001Z"},'
        '"moment_ms":{"$date":"2026-01-01T00:00:00.001000Z"},"day":{"$hsDate":"2026-01-01"},'
        '"clock":{"$hsTime":"07:30:00.000001"},"span":{"$hsDuration":"-1"},'
        '"owner":{"$uuid":"019b0000-0000-7000-8000-000000000002"},'
        '"blob":{"$binary":{"base64":"AP8B","subType":"00"}},'
        '"data":{"$hsLiteral":{"$date":1,"list":[1.5,null,{"b":"é"}]}},"level":"äußerst"}'
    )


_GOOD: dict[str, Json] = msgspec.json.decode(LineEncoder(EVERYTHING).lines([everything(1)])[0])
_SECRET = "secret-7f3a"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", None), ("id", _SECRET), ("id", {"$uuid": _SECRET}), ("version", None),
        ("version", _SECRET), ("version", 1.5), ("version", True), ("number", 2**63),
        ("number", {"$numberLong": _SECRET}), ("flag", 1), ("flag", _SECRET), ("ratio", _SECRET),
        ("text", 1), ("text", "\x00"), ("level", _SECRET), ("price", 1.5),
        ("price", {"$numberDecimal": _SECRET}), ("price", {"$numberDecimal": "0.00001"}),
        ("price", {"$numberDecimal": "NaN"}), ("price", {"$numberDecimal": "1", "more": _SECRET}),
        ("moment", "2026-01-01"), ("moment", {"$date": "2026-01-01T00:00:00"}),
        ("moment", {"$date": _SECRET}), ("moment_ms", {"$date": "2026-01-01T00:00:00.000001Z"}),
        ("day", {"$hsDate": "0000-00-00"}), ("clock", {"$hsTime": "25:00:00.000000"}),
        ("span", {"$hsDuration": "9" * 40}), ("span", {"$hsDuration": _SECRET}),
        ("blob", {"$binary": {"base64": "!", "subType": "00"}}), ("blob", {"$binary": _SECRET}),
        ("data", {"a": "\x00"}), ("data", [2**64]),
    ],
)  # fmt: skip
def test_a_malformed_value_is_refused_without_being_shown(field: str, value: Json) -> None:
    """Each value is checked against its field; the reason names the field, never the value."""
    line = msgspec.json.encode({**_GOOD, field: value})
    decoder = LineDecoder(EVERYTHING)
    with pytest.raises(MALFORMED):
        decoder.rows([line])
    problem = decoder.explain(line)
    assert problem.field == field
    assert _SECRET not in str(problem)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b"null", b"\xff", b"[" * 5_000, msgspec.json.encode({**_GOOD, "x": 1}),
        msgspec.json.encode({key: _GOOD[key] for key in list(_GOOD)[1:]}),
    ],
    ids=["empty", "cut", "list", "null", "no-utf-8", "deep", "extra", "missing"],
)  # fmt: skip
def test_what_is_no_document_is_refused(line: bytes) -> None:
    """A line holds every field of the collection and no other."""
    decoder = LineDecoder(EVERYTHING)
    with pytest.raises(MALFORMED):
        decoder.rows([line])
    assert str(decoder.explain(line))


def test_a_document_that_breaks_a_check_is_refused() -> None:
    """The checks of a definition hold for what is restored, before it reaches a store."""
    (line,) = LineEncoder(READINGS).lines([{**reading(1), "pulse": 401, "weight": Decimal(1)}])
    decoder = LineDecoder(READINGS)
    with pytest.raises(MALFORMED):
        decoder.rows([line])
    assert "pulse_is_human" in str(decoder.explain(line))
