"""Values as text: literals of a statement, and fields of a file for LOAD DATA.

A value has one of the types that the dialect's encoders give. Rows are written column by column:
that takes a third of the time of value by value.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

from healthstore.adapters.sql.dialect import BulkInsert, BulkUpdate, Row
from healthstore.model.values import Kind

__all__ = ("as_file", "inserts", "literal", "updates")

_BYTES = 1 << 20  # of one bulk insert; a server's max_allowed_packet is 16 MiB or more


# A statement must fit into max_allowed_packet, and a document may take half of its least, with up
# to 500 fields. What an escape or hex would double is written as base64, unless it is short.
_SHORT = 8 * 1024


def _text(value: str) -> str:
    # Backslashes escape: sql_mode is ours.
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    if len(value) <= _SHORT or 3 * (len(escaped) - len(value)) <= len(value):
        return f"'{escaped}'"
    return f"CONVERT({_base64(value.encode())} USING utf8mb4)"


def _bytes(value: bytes) -> str:
    return f"x'{value.hex()}'" if len(value) <= _SHORT else _base64(value)


def _base64(value: bytes) -> str:
    return f"FROM_BASE64('{b2a_base64(value, newline=False).decode('ascii')}')"


def _float(value: float) -> str:
    text = repr(value)
    return text if "e" in text else f"{text}e0"  # without an exponent it would be a decimal


# How the driver writes values into a statement.
_LITERALS: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda _: "NULL",
    str: _text,
    bytes: _bytes,
    int: str,
    float: _float,
    Decimal: lambda value: f"{value:f}",
    tuple: lambda values: ",".join(map(literal, values)),
}


def literal(value: object) -> str:
    """Return a value as it is written into a statement."""
    return _LITERALS[type(value)](value)


def _written(column: Sequence[Any], how: Mapping[type, Callable[[Any], str]]) -> Iterable[str]:
    """Return values as text, most often of one type."""
    kinds = set(map(type, column))
    if len(kinds) == 1:
        return map(how[kinds.pop()], column)
    return (how[type(value)](value) for value in column)


def inserts(head: str, rows: Sequence[Row]) -> Iterator[str]:
    """Return the statements that insert rows: as few as the size of a statement allows."""
    for parts in _together(rows):
        yield f"{head}({'),('.join(parts)})"


def updates(update: BulkUpdate, rows: Sequence[Row]) -> Iterator[str]:
    """Return the statements that change rows by their ids: as few as their size allows."""
    # A column may change and be what a row is found by: it has two names here, none a field's.
    found_by = {each: f"by {each}" for each in update.found_by}
    names = ", ".join(f"NULL AS `{name}`" for name in (*update.columns, *found_by.values()))
    sets = ", ".join(f"`{update.table}`.`{each}` = changed.`{each}`" for each in update.columns)
    found = " AND ".join(
        f"`{update.table}`.`{each}` = changed.`{name}`" for each, name in found_by.items()
    )
    for parts in _together(rows):
        # The first row gives the columns their names, and is dropped: no row has its id. In this
        # order, so that the table's rows are found by the id and no other one is locked.
        yield (
            f"UPDATE (SELECT {names} UNION ALL SELECT {' UNION ALL SELECT '.join(parts)}) "
            f"AS changed STRAIGHT_JOIN `{update.table}` ON {found} SET {sets}"
        )


def _together(rows: Sequence[Row]) -> Iterator[Sequence[str]]:
    """Return rows as text, as many together as the size of a statement allows."""
    columns = (_written(column, _LITERALS) for column in zip(*rows, strict=True))
    parts: list[str] = []
    size = 0
    for part in map(",".join, zip(*columns, strict=True)):
        if parts and size + len(part) > _BYTES:
            yield parts
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    yield parts


def _field(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


# The kinds that the dialect's encoders make bytes of; a file holds them as hex.
_HEXED = frozenset({Kind.BYTES, Kind.UUID})
_IN_TURN = 500  # rows of a file that are made at a time
# How a file holds values: as the server reads it by default.
_NULL = "\\N"
_ESCAPED = "\\\t\n"
_TEXTS = frozenset({str, type(None)})
_FIELDS: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda _: _NULL,
    str: _field,
    bytes: bytes.hex,
    int: str,
    float: repr,
    Decimal: lambda value: f"{value:f}",
}


def _fields(column: Sequence[Any]) -> Iterable[str]:
    """Return values as fields; texts, most of which need no escape, are looked at together."""
    if _TEXTS.issuperset(map(type, column)):
        texts = "".join([each for each in column if each is not None])
        if not any(each in texts for each in _ESCAPED):
            return [_NULL if each is None else each for each in column]
    return _written(column, _FIELDS)


def as_file(insert: BulkInsert, rows: Iterable[Row]) -> tuple[str, Iterator[bytes]]:
    """Return the statement that loads rows from a file, and the file in pieces.

    Each is made when it is asked for, of rows that are asked for then: the server reads one while
    the next is made.
    """
    fields: list[str] = []
    sets: list[str] = []
    for name, kind in zip(insert.columns, insert.kinds, strict=True):
        if kind in _HEXED:
            fields.append(f"@{name}")
            sets.append(f"`{name}` = UNHEX(@{name})")
        else:
            fields.append(f"`{name}`")
    statement = (
        f"LOAD DATA LOCAL INFILE 'rows' INTO TABLE `{insert.table}` CHARACTER SET utf8mb4 "
        f"({', '.join(fields)})"
    )
    return f"{statement} SET {', '.join(sets)}" if sets else statement, _pieces(iter(rows))


def _pieces(rows: Iterator[Row]) -> Iterator[bytes]:
    while some := list(islice(rows, _IN_TURN)):
        columns = map(_fields, zip(*some, strict=True))
        yield from _together_in_bytes(map("\t".join, zip(*columns, strict=True)))


def _together_in_bytes(lines: Iterable[str]) -> Iterator[bytes]:
    parts: list[str] = []
    size = 0
    for line in lines:
        parts.append(line)
        size += len(line)
        if size > _BYTES:
            yield ("\n".join(parts) + "\n").encode()
            parts, size = [], 0
    if parts:
        yield ("\n".join(parts) + "\n").encode()
