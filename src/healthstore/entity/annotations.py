"""What an annotation says: the type of a field, whether it may be None, and its notes."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, MutableSequence, MutableSet
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import PurePath
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    NewType,
    TypeAlias,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import (
    AwareDatetime,
    BaseModel,
    ByteSize,
    EmailStr,
    IPvAnyAddress,
    IPvAnyInterface,
    IPvAnyNetwork,
    JsonValue,
    NameEmail,
    PastDate,
    PastDatetime,
    TypeAdapter,
    networks,
)
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo

from healthstore.entity.declare import Digits, Entity, Milliseconds, Searchable
from healthstore.errors import ConfigurationError
from healthstore.model.values import FieldType, Kind

__all__ = (
    "JSON",
    "SCALARS",
    "TEXTS",
    "Notes",
    "field_type",
    "is_typed_dict",
    "members",
    "untyped",
    "unwrap",
)

Notes: TypeAlias = "tuple[object, ...]"

SCALARS: Mapping[object, FieldType] = {
    bool: FieldType(Kind.BOOLEAN),
    int: FieldType(Kind.INTEGER),
    ByteSize: FieldType(Kind.INTEGER),
    float: FieldType(Kind.FLOAT),
    str: FieldType(Kind.TEXT),
    EmailStr: FieldType(Kind.TEXT, max_length=254),  # RFC 5321: no longer one can be delivered
    Decimal: FieldType(Kind.DECIMAL),
    datetime: FieldType(Kind.DATETIME),
    AwareDatetime: FieldType(Kind.DATETIME),
    PastDatetime: FieldType(Kind.DATETIME),
    date: FieldType(Kind.DATE),
    PastDate: FieldType(Kind.DATE),
    time: FieldType(Kind.TIME),
    timedelta: FieldType(Kind.DURATION),
    UUID: FieldType(Kind.UUID),
    bytes: FieldType(Kind.BYTES),
}
"""The types whose values are kept as they are."""

# With a zone such as %eth0, which has no limit of its own.
_IPV6 = FieldType(Kind.TEXT, max_length=64)
TEXTS: Mapping[object, FieldType] = {
    IPv4Address: FieldType(Kind.TEXT, max_length=15),
    IPv4Interface: FieldType(Kind.TEXT, max_length=18),
    IPv4Network: FieldType(Kind.TEXT, max_length=18),
    IPv6Address: _IPV6,
    IPv6Interface: _IPV6,
    IPv6Network: _IPV6,
    IPvAnyAddress: _IPV6,
    IPvAnyInterface: _IPV6,
    IPvAnyNetwork: _IPV6,
    **{
        cast(object, getattr(networks, name)): FieldType(Kind.TEXT)
        for name in networks.__all__
        if name.endswith(("Url", "Dsn"))
    },
    NameEmail: FieldType(Kind.TEXT),
    PurePath: FieldType(Kind.TEXT),
    ZoneInfo: FieldType(Kind.TEXT, max_length=100),
}
"""The classes, with their subclasses, whose values are written as text and read from it."""

JSON: frozenset[object] = frozenset(
    {
        *(list, dict, tuple, set, frozenset, deque, defaultdict, Counter),
        *(Mapping, MutableMapping, AbstractSet, MutableSet, MutableSequence),
        *(Union, UnionType, Any, object),
    }
)
"""The types, with or without arguments, that are kept as JSON; models and dataclasses, too."""


_UNTYPED: Mapping[object, type] = {
    **dict.fromkeys((dict[str, Any], dict[str, object], dict[str, JsonValue]), dict),
    **dict.fromkeys((list[Any], list[object], list[JsonValue]), list),
    **dict.fromkeys((JsonValue, JsonValue | None), object),
}


def untyped(annotation: object) -> type | None:
    """Return dict, list or object for an annotation that says no more of a JSON value than this."""
    try:
        return _UNTYPED.get(annotation)
    except TypeError:  # an annotation of a value that cannot be hashed
        return None


def unwrap(annotation: object, notes: Iterable[object]) -> tuple[object, bool, Notes]:
    """Return the annotation without None, Annotated and other names; whether None is allowed; notes."""
    found = list(_flat(notes))
    nullable = False
    while True:
        named = _named(annotation)
        if named is not annotation:
            annotation = named
        elif get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            found.extend(_flat(more))
        elif get_origin(annotation) in _UNIONS:
            parts = list(_parts(annotation))
            rest = [part for part in parts if part is not NoneType]
            nullable = nullable or len(rest) < len(parts)
            if len(rest) != 1:
                return _one_literal(rest) or annotation, nullable, tuple(found)
            annotation = rest[0]
        else:
            break
    values = get_args(annotation) if get_origin(annotation) is Literal else ()
    if None in values:
        nullable, annotation = True, _literal(value for value in values if value is not None)
    return annotation, nullable or annotation is Any or annotation is object, tuple(found)


_UNIONS = frozenset({Union, UnionType})


def _flat(notes: Iterable[object]) -> Iterator[object]:
    """Yield the notes; those of a pydantic Field() stand for themselves."""
    for note in notes:
        if isinstance(note, FieldInfo):
            yield from note.metadata
        else:
            yield note


def _named(annotation: object) -> object:
    """Return what a new type, or an alias such as ``type Kg = …``, is another name of."""
    if isinstance(annotation, NewType):
        return _resolved(annotation.__supertype__, annotation.__module__)
    alias: Any = get_origin(annotation) or annotation
    if hasattr(alias, "__value__") and hasattr(alias, "__type_params__"):
        value: Any = _resolved(alias.__value__, alias.__module__)
        return value[get_args(annotation)] if get_args(annotation) else value
    return annotation


def _resolved(value: object, module: str) -> object:
    """Return a type, with those that it names by texts looked up in the module of its alias.

    What is not found there stays a text: :func:`field_type` refuses it.
    """

    def alias() -> None: ...

    alias.__annotations__ = {"value": value}
    try:
        return get_type_hints(alias, vars(sys.modules[module]), include_extras=True)["value"]
    except (KeyError, NameError, SyntaxError, TypeError):
        return value


def _parts(union: object) -> Iterator[object]:
    """Yield the members of a union, and of the unions that these name."""
    for part in get_args(union):
        inner = part
        while (plain := _plain(inner)) is not inner:
            inner = plain
        if get_origin(inner) in _UNIONS:
            yield from _parts(inner)
        elif get_origin(inner) is Literal and None in get_args(inner):
            yield NoneType
            yield _literal(value for value in get_args(inner) if value is not None)
        else:
            yield NoneType if inner is NoneType else part


def _plain(annotation: object) -> object:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else _named(annotation)


def _literal(values: Iterable[object]) -> object:
    listed = tuple(values)
    return Literal[listed] if listed else NoneType


def _one_literal(parts: Iterable[object]) -> object | None:
    """Return the literal that a union of literals is, or None."""
    listed = tuple(parts)
    if not listed or any(get_origin(part) is not Literal for part in listed):
        return None
    return _literal(value for part in listed for value in get_args(part))


def members(annotation: object) -> tuple[object, ...]:
    """Return the values that an enum or a literal lists, nothing for other annotations."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return tuple(annotation)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _text_form(annotation: object) -> FieldType | None:
    if not isinstance(annotation, type):
        return None
    return next((TEXTS[each] for each in annotation.__mro__ if each in TEXTS), None)


def field_type(
    annotation: object, notes: Iterable[object], entity: type[Entity], name: str
) -> FieldType:
    """Return the type of an entity's field from its annotation, unwrapped, and its notes.

    Raises ConfigurationError for a type that not every backend can keep.
    """
    found = SCALARS.get(annotation) if isinstance(annotation, type) else None
    found = found or _text_form(annotation) or _of_members(members(annotation))
    if found is None and _is_json(annotation):
        found = FieldType(Kind.JSON)
    found = found or _custom(annotation)
    if found is None and isinstance(annotation, str | ForwardRef):
        raise ConfigurationError(
            "has an alias that names by a text what its module does not know",
            hint="name the type itself in the alias, or define it and the alias in a module",
            entity=entity.__name__,
            field=name,
        )
    if found is None:
        raise ConfigurationError(
            "has a type that not every backend can keep",
            hint="use a plain type (str, int, Decimal, datetime, …), an enum of texts or integers, "
            "or a JSON type (list, dict, a pydantic model)",
            entity=entity.__name__,
            field=name,
        )
    listed = tuple(notes)
    if len({note for note in listed if isinstance(note, Digits)}) > 1:
        raise ConfigurationError(
            "has two Digits that differ",
            hint="leave one out: it may stand in an alias that the annotation names",
            entity=entity.__name__,
            field=name,
        )
    return _limited(found, listed)


def _of_members(listed: tuple[object, ...]) -> FieldType | None:
    """Return the type of a field that holds one of a few values."""
    values = [each.value if isinstance(each, Enum) else each for each in listed]
    if not values:
        return None
    if all(isinstance(value, str) for value in values):
        return FieldType(Kind.ENUM, choices=tuple(dict.fromkeys(map(str, values))))
    if all(isinstance(value, bool) for value in listed):
        return FieldType(Kind.BOOLEAN)
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return FieldType(Kind.INTEGER)
    return None


def _limited(found: FieldType, notes: Notes) -> FieldType:
    """Return the type with the limits that the notes set; of several of one kind the smallest.

    Digits says how a Decimal is kept; then what pydantic's Field() says only narrows its values.
    """
    if any(isinstance(note, Milliseconds) for note in notes):
        found = replace(found, milliseconds=True)
    if any(isinstance(note, Searchable) for note in notes):
        found = replace(found, searchable=True)
    for note in notes:
        if isinstance(note, Digits):
            return replace(found, digits=note.digits, places=note.places)
    if found.kind is Kind.TEXT:
        return replace(found, max_length=_least(notes, "max_length", found.max_length))
    if found.kind is Kind.DECIMAL:
        digits = _least(notes, "max_digits")
        return replace(found, digits=digits or 0, places=_least(notes, "decimal_places") or 0)
    return found


def _least(notes: Notes, limit: str, *others: int | None) -> int | None:
    """Return the smallest limit of this name, None if there is none."""
    limits = (*others, *(getattr(note, limit, None) for note in notes))
    return min((each for each in limits if each is not None), default=None)


def _is_json(annotation: object) -> bool:
    if (get_origin(annotation) or annotation) in JSON:
        return True
    if get_origin(annotation) is Literal:  # of texts and numbers, which JSON tells apart
        return all(type(each) in {str, int, bool} for each in get_args(annotation))
    model = get_origin(annotation) or annotation
    return isinstance(model, type) and (
        issubclass(model, BaseModel)
        or is_dataclass(model)
        or is_typed_dict(model)
        or (issubclass(model, tuple) and hasattr(model, "_fields"))
    )


def is_typed_dict(annotation: type) -> bool:
    """Tell whether it is a TypedDict, of typing or of typing_extensions."""
    return issubclass(annotation, dict) and hasattr(annotation, "__total__")


def _custom(annotation: object) -> FieldType | None:
    """Return the type of a class that tells pydantic itself what it is: text, or else JSON."""
    if not hasattr(annotation, "__get_pydantic_core_schema__"):
        return None
    try:
        schema = TypeAdapter(cast(Any, annotation)).json_schema(mode="serialization")
    except PydanticInvalidForJsonSchema:
        return FieldType(Kind.JSON)
    return FieldType(Kind.TEXT if schema.get("type") == "string" else Kind.JSON)
