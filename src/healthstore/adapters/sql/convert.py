"""Converters and checks that several SQL dialects share."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, literal, literal_column

from healthstore.adapters.sql.dialect import Converter
from healthstore.model.values import FieldType, Kind

__all__ = ("constant", "decode_json", "encode_json_text", "enum_check", "same", "whole_sum")

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()

decode_json: Converter = _decoder.decode


def encode_json_text(value: Any) -> str:
    """Return canonical JSON text: keys sorted (the guard saw to it), floats in shortest form."""
    return _encoder.encode(value).decode()


def same(_: FieldType) -> Converter | None:
    """Return no converter: the driver takes and gives the canonical value."""
    return None


def enum_check(column: ColumnElement[Any], field: FieldType) -> ColumnElement[bool] | None:
    """Return the check that keeps an enum's column to its choices."""
    return column.in_(field.choices) if field.kind is Kind.ENUM else None


def constant(value: Any, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return what stands in DDL for an encoded value that a column is compared with."""
    if isinstance(value, bytes):
        return literal_column(f"X'{value.hex()}'")
    if isinstance(value, float):
        text = repr(value)
        # Without an exponent MySQL reads a decimal.
        return literal_column(text if "e" in text else f"{text}e0")
    if isinstance(value, Decimal):
        return literal_column(f"{value:f}")
    # Text is written as text, whatever the column: a DATETIME has no literal of its own.
    return literal(value, None if isinstance(value, str) else column.type)


def whole_sum(columns: Sequence[ColumnElement[Any]]) -> tuple[ColumnElement[Any], ...]:
    """Return what sorts and compares as a sum that is one column; that of nothing is 0."""
    return (func.coalesce(columns[0], literal_column("0")),)
