"""JSON values in canonical form: checked to come back equal from every backend, keys sorted."""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Mapping
from enum import Enum
from math import isfinite
from sys import float_info
from typing import Annotated, Any, Final, TypeAlias, cast

import msgspec

from healthstore.model.advice import AdvisedError
from healthstore.model.text import require_text

__all__ = (
    "INT64_MAX",
    "INT64_MIN",
    "MAX_DEPTH",
    "MOST_BYTES",
    "Json",
    "canonical_json",
    "canonical_jsons",
    "copied_json",
    "exact_json",
    "exact_jsons",
    "in_itself",
    "may_hold_negative_zero",
    "packed_json",
    "sorted_json",
    "too_deep",
    "unpacked_json",
)

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
MAX_DEPTH = 64
MOST_BYTES: Final = 8 * 1024 * 1024
"""Of a document, on every backend; so of JSON as its text, too."""

_TOLD: Final = 8  # levels of a place
_ELSEWHERE: Final = "store large content elsewhere, and its address here"

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
    for anything else; the message never holds a value, nor a key: it counts the parts on the way
    to what is wrong, from 1.

    Most values are written, read and compared in C, in a fifth of the time of a walk: what
    comes back equal, of JSON's types and within their bounds, is canonical. All others are walked.
    """
    back = _read_back(value)
    return _by_walk(value) if back is _DOUBTFUL else cast(Json, back)


def canonical_jsons(values: list[object]) -> list[Json]:
    """Return the same as :func:`canonical_json` for each of several values, in less time."""
    back = _all_read_back(values)
    return list(map(canonical_json, values)) if back is _DOUBTFUL else cast("list[Json]", back)


def exact_json(value: object) -> Json:
    """Return the same as :func:`canonical_json` for a value that is made of JSON's own types.

    Raises ``TypeError`` where another one, a tuple or an enum's member say, would come back as
    one of those.
    """
    kept = _read_back(value)
    if kept is _DOUBTFUL:
        kept = _by_walk(value)
        equal = kept == value
    else:
        equal = True
    if not (equal and _has_own_types(value)):
        raise TypeError("would come back from the store as another value")
    return cast(Json, kept)


def exact_jsons(values: list[object]) -> list[Json]:
    """Return the same as :func:`exact_json` for each of several values, in less time."""
    back = _all_read_back(values)
    if back is _DOUBTFUL or not _has_own_types(values):
        return list(map(exact_json, values))
    return cast("list[Json]", back)


def _has_own_types(value: Any) -> bool:
    """Tell whether no value is of a class that is derived from one of JSON's types.

    The marshal module writes nothing else, and is faster than msgspec, which writes some.
    """
    try:
        marshal.dumps(value, 4)  # which writes what is there twice once
    except ValueError:
        return False
    return True


_DOUBTFUL: Final = object()


def _read_back(value: object) -> object:
    """Return what comes back when a value is written and read, or that this is doubtful."""
    try:
        packed = _pack_sorted(value)
        _require_moderate(packed)
        if _NEGATIVE_ZERO in packed or _NUL in _as_text(value):
            return _DOUBTFUL
        back: object = _unpack_checked(packed)
    except AdvisedError:
        raise
    except (ArithmeticError, TypeError, ValueError, RecursionError):
        return _DOUBTFUL  # the walk says what is wrong with it
    return back if back == value else _DOUBTFUL


def _all_read_back(values: list[object]) -> object:
    """Return the same of several values; together they may be large, where none of them is."""
    try:
        return _read_back(values)
    except AdvisedError:
        return _DOUBTFUL


def _require_moderate(packed: bytes) -> None:
    """Raise AdvisedError for what is surely too large; the document is measured exactly later.

    What is shared by many parts is small in memory: written once it shows its size, and each
    further step would take as long as that one, or longer.
    """
    if len(packed) > 2 * MOST_BYTES:
        raise AdvisedError(f"takes more than {MOST_BYTES} bytes as JSON", _ELSEWHERE)


def _by_walk(value: object) -> Json:
    try:
        return _walked(value, 0)
    except (TypeError, ValueError) as error:
        found = _fault(value, (), ())
        raise found or error from None


def _fault(value: object, place: tuple[int, ...], above: tuple[int, ...]) -> Exception | None:
    """Return what is wrong first with a value, and at which of its parts; None if nothing is."""
    if isinstance(value, Enum):
        value = value.value
    parts: Iterable[object]
    if isinstance(value, Mapping):
        parts = value.values()
    elif isinstance(value, list | tuple):
        parts = cast("Iterable[object]", value)
    else:
        parts = ()
    try:
        if id(value) in above:
            raise in_itself()
        if isinstance(value, Mapping):
            for key in cast("Mapping[object, object]", value):
                _require_key(key)
        if isinstance(value, Mapping | list | tuple):
            if len(above) >= MAX_DEPTH:
                raise too_deep()
        else:
            _walked(value, len(above))
    except (TypeError, ValueError) as error:
        way = ".".join(map(str, place[:_TOLD])) + ("…" if len(place) > _TOLD else "")
        return type(error)(f"{error}, at part {way}" if place else str(error))
    inner = (*above, id(value))
    faults = (_fault(each, (*place, count), inner) for count, each in enumerate(parts, 1))
    return next(filter(None, faults), None)


def in_itself() -> ValueError:
    """Return the error for a value that is one of its own parts."""
    return ValueError("holds itself")


def too_deep() -> ValueError:
    """Return the error for a value whose parts have parts, and so on, too often."""
    return ValueError(f"is nested deeper than {MAX_DEPTH} levels")


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
        raise too_deep()
    if isinstance(value, list | tuple):
        return [_walked(item, depth + 1) for item in value]
    if kind is dict or isinstance(value, Mapping):
        return _walked_object(cast("Mapping[object, object]", value), depth)
    raise TypeError(f"expects a JSON value, not {kind.__name__}")


def _walked_object(value: Mapping[object, object], depth: int) -> dict[str, Json]:
    keys = sorted(map(_require_key, value))
    return {key: _walked(value[key], depth + 1) for key in keys}


def _require_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"expects str as the key of a JSON object, not {type(key).__name__}")
    try:
        require_text(key)
    except ValueError as error:
        raise ValueError(f"{error}, in a key") from None
    return str(key)


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
