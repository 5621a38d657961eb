"""What a program declares: an entity, and the notes that its annotations may hold."""

from __future__ import annotations

import sys
import time as clock
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from os import urandom
from typing import TYPE_CHECKING, Any, ClassVar, cast
from uuid import UUID

from annotated_types import MaxLen as MaxLength
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from healthstore.model.definition import key_name
from healthstore.model.query import FieldName
from healthstore.model.schema import Check, Index, OnDelete, Unique

__all__ = (
    "LEASED_UNTIL",
    "Digits",
    "Entity",
    "MaxLength",
    "Milliseconds",
    "Ref",
    "Search",
    "Searchable",
    "utc_now",
    "uuid7",
)


LEASED_UNTIL = "leased_until"
"""The field that ``claimable=True`` brings: until when a worker has the document."""


@dataclass(frozen=True, slots=True)
class Digits:
    """A Decimal's digits in all (at most 28) and its places after the point."""

    digits: int
    places: int


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """An instant of whole milliseconds; MongoDB keeps it as a native date."""


@dataclass(frozen=True, slots=True)
class Searchable:
    """A text that filters find whatever its case is: ``F.name.equals("ÅSA", ignore_case=True)``.

    Beside it is kept what it is where case does not count, with an index. It needs a MaxLength
    of at most 640.
    """


@dataclass(frozen=True, init=False)
class Search:
    """The texts in which ``repository.search`` looks for words: ``indexes=[Search("name", "note")]``.

    Beside each of them its words are kept: runs of letters, digits and ``_`` where case does not
    count, each once, at most 10,000 of a text.
    """

    fields: tuple[str, ...]

    def __init__(self, *fields: str | FieldName) -> None:
        names = tuple(key_name(each, "a Search") for each in fields)
        object.__setattr__(self, "fields", names)


@dataclass(frozen=True, init=False)
class Ref:
    """A UUID field that holds the id of another entity, or of a collection by its name.

    ``on_delete`` says what becomes of this document when the other one is deleted: it
    forbids that (``"restrict"``), goes with it (``"cascade"``) or loses the reference
    (``"set_null"``). ``"self"`` is the entity's own collection. Entities may refer to each other
    in a circle if one of the references may be None: name the later one by its collection.
    """

    target: type[Entity] | str
    on_delete: OnDelete

    def __init__(self, target: type[Entity] | str, on_delete: OnDelete = "restrict") -> None:
        object.__setattr__(self, "target", target)
        object.__setattr__(self, "on_delete", on_delete)


def utc_now() -> datetime:
    """Return the present instant in UTC."""
    return datetime.now(UTC)


def uuid7() -> UUID:
    """Return a new UUID version 7 (RFC 9562): 48 bits of milliseconds, 12 of their fraction."""
    nanoseconds = clock.time_ns()
    milliseconds, rest = divmod(nanoseconds, 1_000_000)
    fraction = (rest << 12) // 1_000_000
    tail = int.from_bytes(urandom(8), "big") & ((1 << 62) - 1)
    return UUID(int=(milliseconds << 80) | (7 << 76) | (fraction << 64) | (2 << 62) | tail)


if TYPE_CHECKING:
    # A checker that saw __getattr__ would believe that classes have every attribute.
    from pydantic._internal._model_construction import ModelMetaclass as _EntityClass
else:

    class _EntityClass(type(BaseModel)):
        """The class of entity classes, whose attributes name their fields in filters."""

        def __getattr__(cls, name: str) -> object:
            if name not in cls.__dict__.get("__pydantic_fields__", ()):
                return super().__getattr__(name)
            # pydantic looks whether a parent has what a field would hide, and would warn of it.
            # (No `__new__`: it takes the names of the frame in which it is called for the class's.)
            if sys._getframe(1).f_globals.get("__name__", "").startswith("pydantic."):  # noqa: SLF001 - CPython's, and PyPy's
                raise AttributeError(name)
            return FieldName(name, cls)


class Entity(BaseModel, metaclass=_EntityClass):
    """A document with a key, two instants and a version.

    ``version`` starts at 1 and rises by one with each change; ``updated_at`` is the instant
    of the last one. Class arguments: ``collection``, the name under which it is stored;
    ``indexes``, of :class:`Index` and :class:`Unique`; ``checks``, of :class:`Check`; with
    ``claimable=True`` its documents are jobs, each of one worker at a time: it brings the field
    ``leased_until``, an instant or None, and an index by age.
    """

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,  # a message must not hold health data
        ser_json_inf_nan="constants",  # else NaN becomes null without a word
    )

    id: UUID = Field(default_factory=uuid7)
    created_at: AwareDatetime = Field(default_factory=utc_now)
    updated_at: AwareDatetime = Field(default_factory=lambda data: data["created_at"])
    version: int = Field(default=1, ge=1)

    __collection_name__: ClassVar[str | None] = None
    __indexes__: ClassVar[tuple[Index | Unique | Search, ...]] = ()
    __checks__: ClassVar[tuple[Check, ...]] = ()
    __claimable__: ClassVar[bool] = False

    def __init_subclass__(
        cls,
        *,
        collection: str | None = None,
        indexes: Iterable[Index | Unique | Search] = (),
        checks: Iterable[Check] = (),
        claimable: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        if claimable and not cls.__claimable__:
            cls.__claimable__ = True
            cls.__indexes__ = (*cls.__indexes__, Index("created_at"))
            if LEASED_UNTIL not in cls.__annotations__:
                # pydantic looks for fields after this.
                cls.__annotations__[LEASED_UNTIL] = cast(Any, AwareDatetime) | None
                setattr(cls, LEASED_UNTIL, None)
        if collection is not None:
            cls.__collection_name__ = collection
        cls.__indexes__ = (*cls.__indexes__, *indexes)
        cls.__checks__ = (*cls.__checks__, *checks)
