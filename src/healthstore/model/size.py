"""How large a document is: JSON as its text or as MongoDB keeps it, whichever is larger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from healthstore.errors import RefusedValueError
from healthstore.model.definition import Definition
from healthstore.model.values import Document, Json, Value

__all__ = ("packed_size", "require_small", "surely_small")

# In MongoDB a number in a list takes 8 bytes, its type, and its place as text; as JSON or
# MessagePack it may take one or two.
_MOST_OF_A_BYTE = 17
_encode = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode
# Documents that are measured together: as a rule they are small, all of them.
_TOGETHER = 100
_ENTRY, _TEXT, _NUMBER, _GROUP = 2, 5, 8, 5  # bytes around a value, or of it


def surely_small(size: int, most: int) -> bool:
    """Tell whether what takes ``size`` bytes as JSON or MessagePack takes at most ``most``."""
    return size * _MOST_OF_A_BYTE <= most


def packed_size(collection: Definition, documents: Sequence[Document]) -> int:
    """Return how many bytes the values that may be large take together, as MessagePack."""
    return len(_pack(_sized(collection, documents)))


def _sized(collection: Definition, documents: Sequence[Document]) -> list[list[Value]]:
    names = collection.sized
    return [[each[name] for name in names if name in each] for each in documents]


def require_small(collection: Definition, documents: Sequence[Document], most: int) -> None:
    """Raise RefusedValueError if a document, or a part of one, takes more than ``most`` bytes."""
    for start in range(0, len(documents), _TOGETHER):
        part = documents[start : start + _TOGETHER]
        if surely_small(packed_size(collection, part), most):
            continue
        for index, each in enumerate(_sized(collection, part), start):
            if not _is_small(each, most):
                error = RefusedValueError(
                    f"a document takes more than {most} bytes, as MongoDB counts them or as JSON",
                    hint="store large content elsewhere, and its address here",
                    entity=collection.entity,
                )
                raise error.at(index=index) if len(documents) > 1 else error


def _is_small(values: Sequence[Value], most: int) -> bool:
    texts = size = 0
    nested: list[Json] = []
    for value in values:
        if isinstance(value, str):
            texts += len(value)
        elif isinstance(value, bytes):
            size += len(value)
        elif isinstance(value, dict | list):
            nested.append(value)
    written = sum(len(_encode(each)) for each in nested)
    if size + 4 * texts + _MOST_OF_A_BYTE * written <= most:
        return True
    size += sum(len(each.encode()) for each in values if isinstance(each, str))
    return size + written <= most and not _exceeds(nested, most - size)


def _exceeds(values: Iterable[Json], most: int) -> bool:
    """Tell whether JSON values take more than ``most`` bytes; what comes then is not looked at."""
    waiting, size = list(values), 0
    while waiting and size <= most:
        value = waiting.pop()
        if isinstance(value, str):
            size += len(value.encode()) + _TEXT
        elif isinstance(value, list):
            size += _GROUP + len(value) * (_ENTRY + len(str(len(value))))
            if size <= most:
                waiting.extend(value)
        elif isinstance(value, dict):
            size += _GROUP + sum(_ENTRY + len(key.encode()) for key in value)
            waiting.extend(value.values())
        else:
            size += _NUMBER
    return size > most
