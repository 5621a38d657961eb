"""One document as one line of hs-ejson/1, and back, a page at a time.

The lines are those of :mod:`healthstore.model.wire`; here msgspec writes and reads whole
pages, because a backup has millions of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Any, TypeAlias, cast
from uuid import UUID

import msgspec

from healthstore.errors import HealthstoreError, RefusedValueError
from healthstore.model.documents import canonical_documents
from healthstore.model.evaluate import check_document
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, FieldType, Kind, Value, canonicaliser
from healthstore.model.wire import from_tagged, to_tagged
from healthstore.transfer.unread import unread

__all__ = ("MALFORMED", "LineDecoder", "LineEncoder")

# What decoding a malformed line raises; the messages may quote values.
MALFORMED = (ArithmeticError, RecursionError, TypeError, ValueError)

_Column: TypeAlias = Sequence[Any]


# --- writing ---------------------------------------------------------------------------------


def _date(value: Value) -> object:
    # msgspec leaves a fraction of zero out, the format does not.
    instant = cast(datetime, value)
    if instant.microsecond:
        return {"$date": instant}
    return {"$date": instant.isoformat()[:19] + ".000000Z"}


# msgspec writes these as `to_tagged` would, several times faster.
_TAGGERS: dict[Kind, Callable[[Value], object] | None] = {
    Kind.TEXT: None,
    Kind.ENUM: None,
    Kind.BOOLEAN: None,
    Kind.FLOAT: None,
    Kind.UUID: lambda value: {"$uuid": value},
    Kind.DECIMAL: to_tagged(FieldType(Kind.DECIMAL)),
    Kind.DATE: lambda value: {"$hsDate": value},
    Kind.DATETIME: _date,
}


class LineEncoder:
    """Writes documents of one collection as JSON objects without a line break."""

    def __init__(self, collection: Collection) -> None:
        self._names = collection.names
        self._taggers: list[tuple[str, Callable[[Value], object] | None]] = [
            (
                each.name,
                _TAGGERS[each.type.kind] if each.type.kind in _TAGGERS else to_tagged(each.type),
            )
            for each in collection.fields
        ]
        self._encode = msgspec.json.Encoder().encode

    def lines(self, rows: Sequence[Document]) -> list[bytes]:
        """Return the line of each document."""
        columns: list[_Column] = []
        for name, tag in self._taggers:
            values: list[Any] = [row[name] for row in rows]
            if tag is not None:
                values = [None if value is None else tag(value) for value in values]
            columns.append(values)
        names, encode = self._names, self._encode
        return [
            encode(dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)
        ]


# --- reading ---------------------------------------------------------------------------------


class _Tagged(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The root of the tagged forms: an object with one key."""


class _Long(_Tagged):
    value: str = msgspec.field(name="$numberLong")


class _Decimal(_Tagged):
    value: Decimal = msgspec.field(name="$numberDecimal")


class _Instant(_Tagged):
    value: datetime = msgspec.field(name="$date")


class _Day(_Tagged):
    value: date = msgspec.field(name="$hsDate")


class _Clock(_Tagged):
    value: time = msgspec.field(name="$hsTime")


class _Span(_Tagged):
    value: str = msgspec.field(name="$hsDuration")


class _Identity(_Tagged):
    value: UUID = msgspec.field(name="$uuid")


class _Content(_Tagged):
    value: bytes = msgspec.field(name="base64")
    kind: str = msgspec.field(name="subType")


class _Binary(_Tagged):
    value: _Content = msgspec.field(name="$binary")


_FORMS: dict[Kind, Any] = {
    Kind.TEXT: str,
    Kind.ENUM: str,
    Kind.BOOLEAN: bool,
    Kind.FLOAT: float,
    Kind.INTEGER: int | _Long,
    Kind.DECIMAL: _Decimal,
    Kind.DATETIME: _Instant,
    Kind.DATE: _Day,
    Kind.TIME: _Clock,
    Kind.DURATION: _Span,
    Kind.UUID: _Identity,
    Kind.BYTES: _Binary,
    Kind.JSON: Any,
}


def _integer(form: Any) -> object:
    return form if type(form) is int else int(form.value)


def _json(form: Any) -> object:
    if type(form) is dict and len(form) == 1 and "$hsLiteral" in form:
        return form["$hsLiteral"]
    return form


# What each form stands for; None: itself. Of the others it is their `value`.
_READERS: dict[Kind, Callable[[Any], object] | None] = {
    Kind.TEXT: None,
    Kind.ENUM: None,
    Kind.BOOLEAN: None,
    Kind.FLOAT: None,
    Kind.INTEGER: _integer,
    Kind.DURATION: lambda form: timedelta(microseconds=int(form.value)),
    Kind.BYTES: lambda form: form.value.value,
    Kind.JSON: _json,
}


class LineDecoder:
    """Reads documents of one collection from lines: complete, canonical, and as declared.

    With ``spelled`` each line must be as it was written, to the byte. Whoever reads lines again
    whose documents are held against a digest need not ask for that.
    """

    def __init__(self, collection: Collection, *, spelled: bool = True) -> None:
        self.collection = collection
        forms: list[tuple[str, Any, Any]] = []
        for index, each in enumerate(collection.fields):
            form = _FORMS[each.type.kind]
            declared = form | None if each.nullable and form is not Any else form
            forms.append((f"field_{index}", declared, msgspec.field(name=each.name)))
        self._readers = [
            _READERS.get(each.type.kind, attrgetter("value")) for each in collection.fields
        ]
        self._written = LineEncoder(collection).lines if spelled else None
        self._versioned = "version" in collection.by_name
        row = msgspec.defstruct("Row", forms, forbid_unknown_fields=True, gc=False)
        self._decode = msgspec.json.Decoder(row).decode

    def rows(self, lines: Sequence[bytes]) -> list[Document]:
        """Return the documents of lines.

        Raises one of :data:`MALFORMED` if a line does not hold one; :meth:`explain` tells why.
        """
        forms = zip(*map(msgspec.structs.astuple, map(self._decode, lines)), strict=True)
        columns = [
            values if read is None else [None if form is None else read(form) for form in values]
            for read, values in zip(self._readers, forms, strict=True)
        ]
        names = self.collection.names
        given: list[dict[str, object]] = [
            dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)
        ]
        try:
            rows = canonical_documents(self.collection, given)
        except HealthstoreError:
            raise ValueError("value") from None
        try:
            for row in rows if self.collection.checks else ():
                check_document(self.collection, row)
        except HealthstoreError as error:
            raise ValueError("check") from error
        if self._versioned and any(cast(int, row["version"]) < 1 for row in rows):
            problem = RefusedValueError("is below 1", field="version")
            raise ValueError("version") from problem.at(entity=self.collection.entity)
        # What two members of one name mean is left open; of what was written here there is one.
        if self._written is not None and self._written(rows) != list(lines):
            raise ValueError("spelling")
        return rows

    def explain(self, line: bytes) -> HealthstoreError:
        """Return what is wrong with a line, by field and without any value."""
        entity = self.collection.entity
        try:
            row = msgspec.json.decode(line)
        except MALFORMED:  # also UnicodeDecodeError, which quotes the line
            row = None
        if not isinstance(row, dict):
            return RefusedValueError(unread(line), entity=entity)
        for each in self.collection.fields:
            if each.name not in row:
                return RefusedValueError("is missing", entity=entity, field=each.name)
            problem = _problem(each, row[each.name])
            if problem:
                return RefusedValueError(problem, entity=entity, field=each.name)
        if len(row) > len(self.collection.fields):
            return RefusedValueError("has a field that the schema does not have", entity=entity)
        try:
            self.rows([line])
        except MALFORMED as error:
            if isinstance(error.__cause__, HealthstoreError):
                return error.__cause__
        return RefusedValueError("is not in the form in which a backup is written", entity=entity)


def _problem(field: Field, tagged: Any) -> str | None:
    if tagged is None:
        return None if field.nullable else "must have a value"
    try:
        canonicaliser(field.type)(from_tagged(field.type)(tagged))
    except MALFORMED as error:
        return str(error)  # these messages hold no value: see `model.values` and `model.wire`
    return None
