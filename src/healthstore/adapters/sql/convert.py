"""Converters and checks that several SQL dialects share."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import ColumnElement

from healthstore.adapters.sql.dialect import Converter
from healthstore.model.values import FieldType, Kind

__all__ = ("decode_json", "encode_json_text", "enum_check", "same")

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
