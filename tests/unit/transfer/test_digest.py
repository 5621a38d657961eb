"""Digests: equal for equal documents in any order, different for any other."""

from __future__ import annotations

import time
from datetime import timedelta
from decimal import Decimal
from hashlib import blake2b

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.transfer.samples import EVERYTHING, everything, identity

from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Kind, Value
from healthstore.model.wire import digester
from healthstore.testing.strategies import documents
from healthstore.transfer.digest import NOTHING, Digest, Digester


def digest(rows: list[Document]) -> Digest:
    """Return the digest of documents."""
    return Digester(EVERYTHING).page(rows).digest


@given(st.lists(documents(EVERYTHING), max_size=20), st.randoms(), st.integers(1, 20))
@settings(deadline=None)
def test_neither_order_nor_size_of_page_changes_a_digest(
    rows: list[Document], random: object, size: int
) -> None:
    """The sum of the digests of any pages, in any order, is the digest of all."""
    whole = digest(rows)
    random.shuffle(rows)  # type: ignore[attr-defined]  # a random.Random
    parts = [digest(rows[start : start + size]) for start in range(0, len(rows), size)]
    assert sum(parts, NOTHING) == whole
    assert whole.count == len(rows)


@given(documents(EVERYTHING))
@settings(deadline=None)
def test_a_digest_is_the_hash_of_the_canonical_values(row: Document) -> None:
    """The fast path gives the bytes that ``wire.digester`` and plain MessagePack give."""

    def form(field: Field) -> object:
        value, convert = row[field.name], digester(field.type)
        return value if value is None or convert is None else convert(value)

    fields = sorted(EVERYTHING.fields, key=lambda field: field.name)
    plain = msgspec.msgpack.encode([EVERYTHING.name, *map(form, fields)], order="deterministic")
    assert Digester(EVERYTHING).encoded([row]) == [plain]
    expected = int.from_bytes(blake2b(plain, digest_size=16).digest(), "big")
    assert digest([row]) == Digest(1, expected)


def test_a_page_tells_how_large_its_largest_document_is() -> None:
    """So that documents are measured one by one only where one of them may be too large."""
    rows = [everything(1), everything(2)]
    sizes = [len(each) for each in Digester(EVERYTHING).encoded(rows)]
    page = Digester(EVERYTHING).page(rows)
    assert (page.size, page.largest) == (sum(sizes), max(sizes))
    assert Digester(EVERYTHING).page([]).largest == 0


def test_a_digest_never_changes_between_releases() -> None:
    """Digests are kept in backups: the algorithm is part of the format."""
    assert str(digest([everything(1)])) == "8d8f1213813b67625a1a682ebefe4444"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("number", None), ("number", 2**53), ("flag", None), ("ratio", 0.25), ("text", "line"),
        ("price", Decimal("0.0002")), ("moment", None), ("clock", None), ("span", timedelta(0)),
        ("owner", identity(3)), ("blob", b""), ("level", "low"), ("version", 2),
        ("data", {"$date": 1, "list": [1.5, None, {"b": "e"}]}),
        ("data", {"$date": 1.0, "list": [1.5, None, {"b": "é"}]}),
        ("data", {"$date": True, "list": [1.5, None, {"b": "é"}]}),
    ],
)  # fmt: skip
def test_every_field_counts(field: str, value: Value) -> None:
    """A change of any field, even of 1 to 1.0 or True inside JSON, changes the digest."""
    changed = {**everything(1), field: value}
    assert digest([changed]) != digest([everything(1)])
    assert Digester(EVERYTHING).changed(everything(1), changed) == (field,)


def test_the_order_of_keys_in_json_does_not_count() -> None:
    """Two spellings of one JSON object are the same value."""
    one, other = everything(1), everything(1)
    one["data"], other["data"] = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
    assert digest([one]) == digest([other])


def test_equal_rows_of_two_collections_have_different_digests() -> None:
    """The name of the collection is part of a document's digest."""
    key = (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
    row: Document = {"id": identity(1), "version": 1}
    one, other = (Digester(Collection(name, key)).page([row]).digest for name in ("a", "b"))
    assert one != other


def test_digesting_costs_microseconds() -> None:
    """16 fields take at most 20 µs of CPU on any machine; 2 to 4 µs are usual."""
    rows = [everything(number) for number in range(2_000)]
    digester_ = Digester(EVERYTHING)
    best = min(_seconds(lambda: digester_.page(rows)) for _ in range(5))
    assert best / len(rows) < 20e-6


def _seconds(work: object) -> float:
    started = time.process_time()
    work()  # type: ignore[operator]  # a function
    return time.process_time() - started
