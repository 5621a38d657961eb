"""Rows of a file, each with its line: JSON Lines or CSV, plain or gzip.

A blank cell of CSV is None. A blank line is no row, except under a single column: there it is a
row whose cell is blank, as PostgreSQL's COPY reads it, for nothing else could write one. A number of JSON with a fraction becomes a Decimal, digit for digit,
in a decimal field, and an int in one of integers if it is whole; inside a JSON field it is refused
if it has more digits than a float keeps. It becomes a float otherwise.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import msgspec

from healthstore.errors import InvalidRequestError, RefusedValueError
from healthstore.model.schema import Collection
from healthstore.model.values import Kind
from healthstore.transfer.digest import Page
from healthstore.transfer.numbers import InexactError, exact_float, exact_whole
from healthstore.transfer.place import require_file
from healthstore.transfer.unread import unread

__all__ = ("FilePage", "Row", "RowFile", "bad_row")


class Row(NamedTuple):
    """The line on which a row begins, counted from 1, its length there, and its values by name."""

    line: int
    size: int
    values: Mapping[str, object]


_GZIP = b"\x1f\x8b"
# A few kilobytes of a packed file can stand for gigabytes: what is held of it is bounded.
_LONGEST_ROW = 16 * 1024 * 1024
_MOST_BLANK = 100_000  # empty lines in a row: nobody hears of a file meanwhile
_BUFFER = 1024 * 1024
_AS_TEXT = "write it as a text, which a Decimal is read from, or with the digits of a float"


@dataclass(frozen=True, slots=True)
class FilePage(Page):
    """Documents of a file: the lines on which they begin, and the number of the page."""

    lines: Sequence[int]
    number: int


class RowFile:
    """A file of rows. Reading blocks, and raises RefusedValueError for a row that is none.

    The form is told by the name: ``.csv``, or one of ``.jsonl``, ``.ndjson`` and ``.json`` (one
    object on each line); ``.gz`` may follow, and what is compressed is found out anyway.
    Raises InvalidRequestError for a name or a file that cannot be read.
    """

    def __init__(self, path: Path, collection: Collection) -> None:
        self.name = path.name
        self.collection = collection
        self._path = path
        suffixes = [each.lower() for each in path.suffixes if each.lower() != ".gz"]
        read = _READERS.get(suffixes[-1] if suffixes else "")
        if read is None:
            raise InvalidRequestError(
                f"the file {path.name!r} is of no known form",
                hint=f"name it {', '.join(sorted(_READERS))}; .gz may follow",
            )
        self._read = read
        self._plain: io.FileIO | None = None
        self._size = 0

    @property
    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        if self._plain is None or not self._size:
            return 1.0
        try:
            return min(self._plain.tell() / self._size, 1.0)
        except ValueError:  # it has been closed, at its end
            return 1.0

    def __iter__(self) -> Generator[Row, None, None]:
        with self._opened() as file:
            yield from self._read(file, self.collection)

    @contextmanager
    def _opened(self) -> Generator[IO[bytes], None, None]:
        try:
            require_file(self._path)
            raw = io.FileIO(self._path)
            self._plain, self._size = raw, os.fstat(raw.fileno()).st_size
            with io.BufferedReader(raw, _BUFFER) as plain:
                if plain.peek(2)[:2] == _GZIP:
                    with gzip.open(plain) as unpacked:
                        yield cast(IO[bytes], io.BufferedReader(unpacked, _BUFFER))
                else:
                    yield plain
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise InvalidRequestError(
                f"the compressed file {self._path.name!r} is damaged or cut off",
                hint="fetch it again",
            ) from None
        except OSError as error:
            raise InvalidRequestError(
                f"the file {self._path.name!r} cannot be read: {os.strerror(error.errno or 0)}",
                hint="check its path and its permissions",
            ) from None


def _json_rows(file: IO[bytes], collection: Collection) -> Iterator[Row]:
    decode = _json_decoder(collection)
    number = blank = 0
    while line := file.readline(_LONGEST_ROW):
        number += 1
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if len(line) == _LONGEST_ROW:
            raise _too_long(number, collection)
        if not line.strip():
            blank += 1
            _require_few(blank, number, collection)
            continue
        blank = 0
        try:
            row = decode(line)
            _check_names(line.decode())
        except _TwiceError:
            hint = "leave one of them"
            raise bad_row(number, "has two values of one name", collection, hint=hint) from None
        except InexactError as error:
            raise bad_row(number, str(error), collection, hint=_AS_TEXT) from None
        except (RecursionError, ValueError):
            hint = "write one JSON object on each line"
            raise bad_row(number, unread(line), collection, hint=hint) from None
        yield Row(number, len(line), row)


class _TwiceError(Exception):
    """A JSON object has two members of the same name."""


def _once(members: list[tuple[str, object]]) -> None:
    """Take a JSON object; RFC 8259, section 4, leaves open what two members of a name mean."""
    if len({name for name, _ in members}) != len(members):
        raise _TwiceError


# msgspec, several times faster, keeps the last of such members without a word.
_check_names = json.JSONDecoder(object_pairs_hook=_once).decode


_EXACT: Mapping[Kind, Callable[[str], object]] = {
    Kind.DECIMAL: Decimal,
    Kind.INTEGER: exact_whole,
    Kind.JSON: exact_float,
}
# A value of one of these types may hold a float that is not what is written.
_MAY_HOLD_FLOATS = frozenset({float, list, dict})


def _json_decoder(collection: Collection) -> Callable[[bytes], Mapping[str, object]]:
    plain = msgspec.json.Decoder(dict[str, Any]).decode
    exact = [
        (each.name, msgspec.json.Decoder(float_hook=_EXACT[each.type.kind]).decode)
        for each in collection.fields
        if each.type.kind in _EXACT
    ]
    # The values as text first: only then a float is not read where another number is wanted.
    raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def decode(line: bytes) -> Mapping[str, object]:
        row: dict[str, object] = plain(line)
        texts: dict[str, msgspec.Raw] | None = None
        for name, read in exact:
            if type(row.get(name)) in _MAY_HOLD_FLOATS:
                texts = texts or raw(line)
                row[name] = read(texts[name])
        return row

    return decode


def _csv_rows(file: IO[bytes], collection: Collection) -> Iterator[Row]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    lines = _Lines(text, collection)
    reader = csv.reader(lines, strict=True)
    line = 1
    try:
        names = next(reader, None)
        if not names:
            raise bad_row(1, "names no column", collection)
        if len(set(names)) != len(names):
            raise bad_row(1, "names a column twice", collection)
        line = lines.next_row()
        blank = 0
        width = len(names)
        for found in reader:
            cells = found if found or width > 1 else [""]
            if not cells:
                blank += 1
                _require_few(blank, line, collection)
            elif len(cells) == width:
                blank = 0
                values = [cell or None for cell in cells]
                yield Row(line, lines.taken, dict(zip(names, values, strict=True)))
            else:
                raise bad_row(line, f"has {len(cells)} cells under {width} columns", collection)
            line = lines.next_row()
    except UnicodeDecodeError:
        # The text is decoded in blocks: the line is near.
        raise bad_row(line, "or one soon after it is no UTF-8", collection) from None
    except csv.Error:
        raise bad_row(line, "is no CSV, or has a very long cell", collection) from None
    finally:
        text.detach()  # the file is closed by whoever opened it


class _Lines:
    """The lines of a table; those of one row together are bounded."""

    def __init__(self, text: io.TextIOWrapper, collection: Collection) -> None:
        self._text = text
        self._collection = collection
        self._row, self._number, self.taken = 1, 0, 0

    def next_row(self) -> int:
        """Begin another row, and return its line."""
        self._row, self.taken = self._number + 1, 0
        return self._row

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(_LONGEST_ROW - self.taken):
            self._number += 1
            self.taken += len(line)
            if self.taken >= _LONGEST_ROW:
                raise _too_long(self._row, self._collection)
            yield line


def _too_long(line: int, collection: Collection) -> RefusedValueError:
    return bad_row(line, f"begins a row of more than {_LONGEST_ROW:,} characters", collection)


def _require_few(blank: int, line: int, collection: Collection) -> None:
    if blank > _MOST_BLANK:
        raise bad_row(line, f"follows {_MOST_BLANK:,} empty lines", collection)


def bad_row(
    line: int, problem: str, collection: Collection, field: str | None = None, hint: str = ""
) -> RefusedValueError:
    """Return the error for a row that cannot be taken: its line, and what is wrong.

    Its hint says also that nothing was stored: whatever reads a file takes all of it or nothing.
    """
    return RefusedValueError(
        f"line {line}: {problem}",
        hint=f"{hint or 'correct that row'}; nothing of the file was stored",
        entity=collection.entity,
        field=field,
    )


_READERS: dict[str, Callable[[IO[bytes], Collection], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".json": _json_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
}
