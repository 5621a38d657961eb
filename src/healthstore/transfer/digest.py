"""Digests that do not depend on order: equal for equal documents, on every backend.

A document's digest is BLAKE2b-128 over the MessagePack of its collection's name and its
canonical values, in order of the fields' names. A set of documents has their number and the
sum of their digests modulo 2**128. So parts add up, pages may be of any size, and no backend
computes anything. It finds accidents; it is no proof against somebody who looks for a
collision (sums of digests can be forged), and short of a key it does not hide what it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import repeat
from operator import itemgetter

import msgspec

from healthstore.model.collector import collector_paused
from healthstore.model.columns import Converter, at_places, columns_of
from healthstore.model.schema import Collection
from healthstore.model.values import Document, Kind
from healthstore.model.wire import digester

__all__ = ("NOTHING", "Digest", "Digester", "Page")

_BYTES = 16
_MODULUS = 1 << (8 * _BYTES)
# msgspec writes these kinds as the digester of their kind would, faster.
_NATIVE = frozenset({Kind.UUID, Kind.DECIMAL})


@dataclass(frozen=True, slots=True)
class Digest:
    """How many documents a set has, and the sum of their digests modulo 2**128."""

    count: int = 0
    total: int = 0

    def __add__(self, other: Digest) -> Digest:
        """Return the digest of both sets together."""
        return Digest(self.count + other.count, (self.total + other.total) % _MODULUS)

    def __str__(self) -> str:
        """Return the sum as 32 hexadecimal digits."""
        return f"{self.total:032x}"


NOTHING = Digest()


@dataclass(frozen=True, slots=True)
class Page:
    """Some documents of a collection, the digest of each, and of all together.

    ``size`` is that of all documents in bytes, as MessagePack; ``largest`` that of one.
    """

    rows: Sequence[Document]
    digests: Sequence[bytes]
    digest: Digest
    size: int
    largest: int


class Digester:
    """Computes the digests of one collection's documents, column by column."""

    def __init__(self, collection: Collection) -> None:
        self._name = collection.name
        self._columns: list[tuple[str, Converter | None]] = [
            (each.name, None if each.type.kind in _NATIVE else digester(each.type))
            for each in sorted(collection.fields, key=lambda each: each.name)
        ]
        self._values_of = itemgetter(*(name for name, _ in self._columns))
        self._converters = at_places(convert for _, convert in self._columns)
        # The keys of JSON objects are sorted already where a backend keeps its promise; sorting
        # them here as well lets a difference be one of values, never of spelling.
        self._encode = msgspec.msgpack.Encoder(
            order="deterministic", uuid_format="bytes", decimal_format="string"
        ).encode

    def encoded(self, rows: Sequence[Document]) -> list[bytes]:
        """Return the MessagePack of each document: equal for equal documents only."""
        if not rows:
            return []
        columns = columns_of(map(self._values_of, rows), self._converters)
        return list(map(self._encode, zip(repeat(self._name, len(rows)), *columns, strict=True)))

    def page(self, rows: Sequence[Document]) -> Page:
        """Return the documents with their digests."""
        with collector_paused():
            encoded = self.encoded(rows)
            digests = [blake2b(each, digest_size=_BYTES).digest() for each in encoded]
            total = sum(map(int.from_bytes, digests)) % _MODULUS
            sizes = list(map(len, encoded))
        digest = Digest(len(digests), total)
        return Page(rows, digests, digest, sum(sizes), max(sizes, default=0))

    def changed(self, left: Document, right: Document) -> tuple[str, ...]:
        """Return the names of the fields in which two documents differ."""
        names: list[str] = []
        for name, convert in self._columns:
            pair = [left[name], right[name]]
            values = [
                value if value is None or convert is None else convert(value) for value in pair
            ]
            # As MessagePack, since 1, 1.0 and True are equal in Python.
            if self._encode(values[0]) != self._encode(values[1]):
                names.append(name)
        return tuple(names)
