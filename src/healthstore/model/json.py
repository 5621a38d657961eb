"""JSON values in canonical form: checked to come back equal from every backend, keys sorted."""

from __future__ import annotations

import marshal
from collections.abc import Mapping
from enum import Enum
from math import isfinite
from sys import float_info
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec

from healthstore.model.text import require_text

__all__ = (
    "INT64_MAX",
    "INT64_MIN",
    "Json",
    "canonical_json",
    "canonical_jsons",
    "copied_json",
    "exact_json",
    "exact_jsons",
    "may_hold_negative_zero",
    "packed_json",
    "sorted_json",
    "unpacked_json",
)

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
MAX_DEPTH = 64

_as_text = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
_pack_sorted = msgspec.msgpack.Encoder(order="sorted").encode
_unpack = msgspec.msgpack.Decoder().decode

# What only an escape tells in a text, and what is equal to 0.0 but not the same.
_NUL = b"\\u0000"
_NEGATIVE_ZERO = b"\x80\0\0\0\0\0\0\0"


def _nested(levels: int) -> Any:
    """Return JSON's types to so many levels: msgspec knows no type that holds itself."""
    whole: Any = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]
    finite: Any = Annotated[float, msgspec.Meta(ge=-float_info.max, le=float_info.max)]
    scalar: Any = bool | whole | finite | str | None
    kinds: Any = scalar
    for _ in range(levels):
        kinds = scalar | list[kinds] | dict[str, kinds]
    return kinds


# Deeper values are rare, and are walked.
_unpack_checked = msgspec.msgpack.Decoder(_nested(8)).decode


def canonical_json(value: object) -> Json:
    """Return a JSON value with sorted keys, checked to round-trip on every backend.

    It shares no mutable part with the one that was given. Raises ``TypeError`` or ``ValueError``
    for anything else; the message never holds a value.

    Most values are written, read and compared in C, in a fifth of the time of a walk: what
    comes back equal, of JSON's types and within their bounds, is canonical. All others are walked.
    """
    back = _read_back(value)
    return _walked(value, 0) if back is _DOUBTFUL else cast(Json, back)


def canonical_jsons(values: list[object]) -> list[Json]:
    """Return the same as :func:`canonical_json` for each of several values, in less time."""
    back = _read_back(values)
    return list(map(canonical_json, values)) if back is _DOUBTFUL else cast("list[Json]", back)


def exact_json(value: object) -> Json:
    """Return the same as :func:`canonical_json` for a value that is made of JSON's own types.

    Raises ``ValueError`` where another one, a tuple or an enum's member say, would come back as
    one of those.
    """
    kept = _read_back(value)
    if kept is _DOUBTFUL:
        kept = _walked(value, 0)
        equal = kept == value
    else:
        equal = True
    if not (equal and _has_own_types(value)):
        raise ValueError("would come back from the store as another value")
    return cast(Json, kept)


def exact_jsons(values: list[object]) -> list[Json]:
    """Return the same as :func:`exact_json` for each of several values, in less time."""
    back = _read_back(values)
    if back is _DOUBTFUL or not _has_own_types(values):
        return list(map(exact_json, values))
    return cast("list[Json]", back)


def _has_own_types(value: Any) -> bool:
    """Tell whether no value is of a class that is derived from one of JSON's types.

    The marshal module writes nothing else, and is as fast as msgspec, which writes some.
    """
    try:
        marshal.dumps(value, 2)  # a later version looks for what is there twice
    except ValueError:
        return False
    return True


_DOUBTFUL: Final = object()


def _read_back(value: object) -> object:
    """Return what comes back when a value is written and read, or that this is doubtful."""
    try:
        packed = _pack_sorted(value)
        if _NEGATIVE_ZERO in packed or _NUL in _as_text(value):
            return _DOUBTFUL
        back: object = _unpack_checked(packed)
    except (ArithmeticError, TypeError, ValueError, RecursionError):
        return _DOUBTFUL  # the walk says what is wrong with it
    return back if back == value else _DOUBTFUL


def _walked(value: object, depth: int) -> Json:  # noqa: C901, PLR0911 - a case per type
    kind = type(value)
    if kind is not str and kind is not dict and isinstance(value, Enum):  # slow to ask
        return _walked(value.value, depth)
    if isinstance(value, str):
        require_text(value)
        return str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not INT64_MIN <= value <= INT64_MAX:
            raise ValueError("holds an integer beyond signed 64 bits")
        return int(value)
    if isinstance(value, float):
        if not isfinite(value):
            raise ValueError("holds NaN or infinity; only finite numbers can be kept")
        return float(value) + 0.0
    if depth >= MAX_DEPTH:
        raise ValueError(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list | tuple):
        return [_walked(item, depth + 1) for item in value]
    if kind is dict or isinstance(value, Mapping):
        return _walked_object(cast("Mapping[object, object]", value), depth)
    raise TypeError(f"expects a JSON value, not {kind.__name__}")


def _walked_object(value: Mapping[object, object], depth: int) -> dict[str, Json]:
    keys: list[str] = []
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"expects str as the key of a JSON object, not {type(key).__name__}")
        require_text(key)
        keys.append(str(key))
    return {key: _walked(value[key], depth + 1) for key in sorted(keys)}


def sorted_json(value: Json) -> Json:
    """Return a JSON value, known to be valid, with the keys of every object sorted."""
    try:
        return cast(Json, _unpack(_pack_sorted(value)))
    except OverflowError:  # an integer that was not written here
        return cast(Json, msgspec.json.decode(msgspec.json.encode(value, order="sorted")))


def copied_json(value: Json) -> Json:
    """Return a copy of a canonical JSON value that shares no mutable part with it."""
    return unpacked_json(packed_json(value))


def packed_json(value: Json) -> bytes:
    """Return a canonical JSON value in binary form (MessagePack), which takes little room."""
    return _pack(value)


def unpacked_json(packed: bytes) -> Json:
    """Return a value for what :func:`packed_json` made of it."""
    return cast(Json, _unpack(packed))


def may_hold_negative_zero(value: object) -> bool:
    """Tell whether a JSON value may hold -0.0, which is equal to 0.0."""
    try:
        return _NEGATIVE_ZERO in _pack(value)
    except TypeError:
        return True  # a class that is derived from one of JSON's types
