"""Patches as MongoDB updates, with the guards that make one of them atomic."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, cast

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from healthstore.adapters.mongo.codec import Codec, Stored, key_of
from healthstore.model.decimals import EXACT, of_units
from healthstore.model.ops import Patch
from healthstore.model.values import FieldType, Kind

__all__ = ("guards", "update")

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
# The least sum that is rounded to infinity: half a last place above the greatest float
# (IEEE 754-2019, 4.3.1).
_TOO_LARGE = Fraction(2**1024 - 2**970)


def update(op: Patch, codec: Codec) -> Stored | list[Stored]:
    """Return the update of a patch: a document or stages; it is empty if the patch changes nothing.

    To the server null is smaller than every value, so that what is at least something is never
    null, and what is at most something needs an expression where it may be null.
    """
    if any(codec.collection.nullable(name) for name, _ in op.at_most):
        return [{"$set": _expressions(op, codec)}]
    parts: Stored = {}
    if op.sets:
        parts["$set"] = codec.changes(op.sets)
    if op.increments:
        parts["$inc"] = {key_of(name): codec.write(name, step) for name, step in op.increments}
    for operator, changes in (("$max", op.at_least), ("$min", op.at_most)):
        if changes:
            parts[operator] = {key_of(name): codec.write(name, value) for name, value in changes}
    return parts


def _expressions(op: Patch, codec: Codec) -> Stored:
    """Return what each changed field becomes, of the document as it was."""
    made: Stored = {key: {"$literal": value} for key, value in codec.changes(op.sets).items()}
    for name, step in op.increments:
        made[key_of(name)] = {"$add": [f"${key_of(name)}", codec.write(name, step)]}
    for test, changes in (("$gte", op.at_least), ("$lte", op.at_most)):
        for name, value in changes:
            there, written = f"${key_of(name)}", codec.write(name, value)
            kept = {"$and": [{"$ne": [there, None]}, {test: [there, written]}]}
            made[key_of(name)] = {"$cond": [kept, there, written]}
    return made


def guards(op: Patch, codec: Codec, version: int | None) -> Stored:
    """Return the conditions under which a patch applies, as a query.

    The version is the expected one, and each incremented field holds a value that stays in the
    range of its type; a null is never within a range.
    """
    conditions: dict[str, Stored] = {}
    for name, step in op.increments:
        kind = codec.collection.field(name).type
        conditions[key_of(name)] = _RANGES[kind.kind](kind, codec.write(name, step))
    if version is not None:
        conditions.setdefault("version", {})["$eq"] = Int64(version)
    return cast(Stored, conditions)


def _range(step: Any, low: Any, high: Any) -> Stored:
    if step > 0:
        return {"$lte": high}
    return {"$gte": low}


def _integers(_: FieldType, step: Any) -> Stored:
    return _range(step, Int64(INT64_MIN - min(step, 0)), Int64(INT64_MAX - max(step, 0)))


def _floats(_: FieldType, step: Any) -> Stored:
    bound = _below(_TOO_LARGE - Fraction(abs(step)))
    return _range(step, -bound, bound)


def _below(limit: Fraction) -> float:
    """Return the greatest finite float that is less than a limit."""
    nearest = float(min(limit, Fraction(sys.float_info.max)))
    return nearest if nearest < limit else math.nextafter(nearest, -math.inf)


def _decimals(kind: FieldType, step: Any) -> Stored:
    amount = cast(Decimal128, step).to_decimal()
    greatest = of_units(10**kind.digits - 1, kind.places)
    return _range(
        amount,
        Decimal128(EXACT.subtract(greatest.copy_negate(), min(amount, Decimal(0)))),
        Decimal128(EXACT.subtract(greatest, max(amount, Decimal(0)))),
    )


_RANGES: dict[Kind, Callable[[FieldType, Any], Stored]] = {
    Kind.INTEGER: _integers,
    Kind.DURATION: _integers,
    Kind.FLOAT: _floats,
    Kind.DECIMAL: _decimals,
}
