"""Clauses that SQLAlchemy has no words for, and many of them combined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import Boolean, ColumnElement
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import NullType, TypeEngine

__all__ = ("Inline", "Written", "combined", "condition")

_CHAIN = 100  # SQLite's parser nests a chain; 1,000 levels are its limit


class Written(ColumnElement[Any]):
    """SQL as text with clauses at its places: ``Written("f({0}, {0})", column)``.

    The text is the program's own, and has the parentheses that it needs.
    """

    inherit_cache = False

    def __init__(
        self, text: str, *parts: ColumnElement[Any], kind: TypeEngine[Any] | None = None
    ) -> None:
        self.text = text
        self.parts = parts
        self.type = NullType() if kind is None else kind

    def self_group(self, against: Any = None) -> Any:
        """Return itself: SQLAlchemy's ``… = 1`` hides from a planner what is in a condition."""
        del against
        return self


@compiles(Written)
def _write(written: Written, compiler: Any, **options: Any) -> str:
    return written.text.format(*(compiler.process(each, **options) for each in written.parts))


class Inline(ColumnElement[Any]):
    """A constant that stands in a statement as the dialect spells it; it is not bound.

    So two expressions of it are one to a database that groups by them, or keeps an index of them.
    """

    inherit_cache = False

    def __init__(self, value: str | int, kind: TypeEngine[Any]) -> None:
        self.value = value
        self.type = kind


@compiles(Inline)
def _write_inline(inline: Inline, compiler: Any, **_: Any) -> str:
    return cast(str, compiler.render_literal_value(inline.value, inline.type))


def condition(text: str, *parts: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return what is written, as a condition."""
    return Written(text, *parts, kind=Boolean())


def combined(
    combine: Callable[..., ColumnElement[bool]],
    empty: ColumnElement[bool],
    parts: list[ColumnElement[bool]],
) -> ColumnElement[bool]:
    """Combine clauses; many of them in groups, because databases limit the depth of a chain."""
    while len(parts) > _CHAIN:
        groups = [parts[start : start + _CHAIN] for start in range(0, len(parts), _CHAIN)]
        # SQLAlchemy's own grouping is undone when clauses are combined.
        parts = [condition("({0})", combine(*group)) for group in groups]
    return combine(empty, *parts)
