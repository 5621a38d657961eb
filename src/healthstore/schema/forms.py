"""The types of fields as migration files write them: ``Text(100, nullable=True)``.

Each is the form of a field: its type, whether it may be null, and its constant default.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

from healthstore.errors import ConfigurationError
from healthstore.model.change import FieldForm
from healthstore.model.values import FieldType, Kind, Value, canonicaliser

__all__ = (
    "Boolean",
    "Bytes",
    "Date",
    "Duration",
    "Enum",
    "Float",
    "Instant",
    "Integer",
    "Json",
    "Number",
    "Text",
    "Time",
    "Uuid",
)

# ruff: noqa: N802 - the names are as those of the operations in which they stand


def Text(
    max_length: int | None = None,
    *,
    searchable: bool = False,
    words: bool = False,
    nullable: bool = False,
    default: str | None = None,
) -> FieldForm:
    """Return the form of a text; without ``max_length`` (code points) it has no limit.

    One that is ``searchable`` is found whatever its case is, and one that is kept in ``words`` by
    a search.
    """
    kind = FieldType(Kind.TEXT, max_length=max_length, searchable=searchable, words=words)
    return _form(kind, nullable, default)


def Integer(*, nullable: bool = False, default: int | None = None) -> FieldForm:
    """Return the form of an integer of 64 bits."""
    return _form(FieldType(Kind.INTEGER), nullable, default)


def Number(
    digits: int, places: int, *, nullable: bool = False, default: Decimal | int | None = None
) -> FieldForm:
    """Return the form of a Decimal of so many digits, of which so many are behind the point."""
    return _form(FieldType(Kind.DECIMAL, digits=digits, places=places), nullable, default)


def Float(*, nullable: bool = False, default: float | None = None) -> FieldForm:
    """Return the form of a float."""
    return _form(FieldType(Kind.FLOAT), nullable, default)


def Boolean(*, nullable: bool = False, default: bool | None = None) -> FieldForm:
    """Return the form of a bool."""
    return _form(FieldType(Kind.BOOLEAN), nullable, default)


def Instant(
    *, milliseconds: bool = False, nullable: bool = False, default: datetime | None = None
) -> FieldForm:
    """Return the form of an aware datetime, to the microsecond or in whole milliseconds."""
    return _form(FieldType(Kind.DATETIME, milliseconds=milliseconds), nullable, default)


def Date(*, nullable: bool = False, default: date | None = None) -> FieldForm:
    """Return the form of a date."""
    return _form(FieldType(Kind.DATE), nullable, default)


def Time(*, nullable: bool = False, default: time | None = None) -> FieldForm:
    """Return the form of a time of day."""
    return _form(FieldType(Kind.TIME), nullable, default)


def Duration(*, nullable: bool = False, default: timedelta | None = None) -> FieldForm:
    """Return the form of a timedelta."""
    return _form(FieldType(Kind.DURATION), nullable, default)


def Uuid(*, nullable: bool = False, default: UUID | None = None) -> FieldForm:
    """Return the form of a UUID; a reference is one."""
    return _form(FieldType(Kind.UUID), nullable, default)


def Bytes(*, nullable: bool = False, default: bytes | None = None) -> FieldForm:
    """Return the form of bytes."""
    return _form(FieldType(Kind.BYTES), nullable, default)


def Enum(*members: str, nullable: bool = False, default: str | None = None) -> FieldForm:
    """Return the form of an enum of texts."""
    return _form(FieldType(Kind.ENUM, choices=tuple(sorted(members))), nullable, default)


def Json(*, nullable: bool = False, default: object = None) -> FieldForm:
    """Return the form of a JSON value."""
    return _form(FieldType(Kind.JSON), nullable, default)


def _form(kind: FieldType, nullable: bool, default: object) -> FieldForm:  # noqa: FBT001 - private
    value: Value = None
    if default is not None:
        try:
            value = canonicaliser(kind)(default)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"a default is no value of the type {kind.kind}", hint=str(error)
            ) from None
    return FieldForm(kind, nullable, value)
