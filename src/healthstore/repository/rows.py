"""Rows of a class that the caller names: a pydantic model, a dataclass or a NamedTuple."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from healthstore.entity import Entity, place, reason
from healthstore.errors import InvalidRequestError, SchemaMismatchError

__all__ = ("row_maker",)

R = TypeVar("R")


def row_maker(
    into: type[R], names: Iterable[str], entity: str
) -> Callable[[Mapping[str, object]], R]:
    """Return what makes an ``into`` of a row that has values of these names.

    Raises InvalidRequestError for what is no such class, for a name that it does not have, and
    for one that it needs and the row has not. What is made raises SchemaMismatchError where a
    value does not fit the class; a dataclass and a NamedTuple take values as they are.
    """
    kind: object = into
    if not isinstance(kind, type) or issubclass(kind, Entity):
        raise _no_class(kind, entity)
    required, known = _names_of(kind, entity)
    given = tuple(names)
    for name in given:
        if known is not None and name not in known:
            close = get_close_matches(name, known, n=1)
            raise InvalidRequestError(
                f"{kind.__name__} has no field {name!r}, which a row has",
                hint=f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}",
                entity=entity,
            )
    for name in required:
        if name not in given:
            raise InvalidRequestError(
                f"{kind.__name__} needs {name!r}, and a row has no such value",
                hint=f"ask for it, or give {kind.__name__}.{name} a default",
                entity=entity,
            )
    return cast("Callable[[Mapping[str, object]], R]", _checked(kind, entity))


def _names_of(kind: type[Any], entity: str) -> tuple[list[str], list[str] | None]:
    """Return which names a class needs, and which it knows; None: it takes any."""
    if issubclass(kind, BaseModel):
        listed = kind.model_fields
        required = [name for name, each in listed.items() if each.is_required()]
        return required, None if kind.model_config.get("extra") == "allow" else [*listed]
    if is_dataclass(kind):
        made = [each for each in fields(kind) if each.init]
        plain = [each for each in made if each.default is each.default_factory is MISSING]
        return [each.name for each in plain], [each.name for each in made]
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        named = cast(Any, kind)
        known = [*named._fields]
        return [name for name in known if name not in named._field_defaults], known
    raise _no_class(kind, entity)


def _checked(kind: type[Any], entity: str) -> Callable[[Mapping[str, object]], object]:
    def make(row: Mapping[str, object]) -> object:
        try:
            if issubclass(kind, BaseModel):
                return kind.model_validate(row, strict=False, by_alias=False, by_name=True)
            return kind(**row)
        except ValidationError as error:
            said, field = reason(error), place(error)
        raise SchemaMismatchError(
            f"a row does not fit {kind.__name__}: {said}",
            hint="give its fields the types of what is asked for",
            entity=entity,
            field=field,
        )

    return make


def _no_class(kind: object, entity: str) -> InvalidRequestError:
    named = kind.__name__ if isinstance(kind, type) else type(kind).__name__
    return InvalidRequestError(
        f"rows cannot be made into {named}",
        hint="give the class of a pydantic model that is no entity, a dataclass or a NamedTuple",
        entity=entity,
    )
