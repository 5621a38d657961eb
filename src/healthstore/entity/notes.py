"""What stands in annotations and class arguments, and would say nothing: refused by its name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from healthstore.entity.declare import Digits, MaxLength, Milliseconds, Ref, Search, Searchable
from healthstore.errors import ConfigurationError
from healthstore.model.schema import Check, Index, Unique

if TYPE_CHECKING:
    from healthstore.entity.declare import Entity

__all__ = ("require_arguments", "require_notes")

_NOTES = (Digits, Index, MaxLength, Milliseconds, Ref, Searchable, Unique)
_ARGUMENTS = (Check, Search)
_KEYS = (Index, Unique, Search)


def require_notes(entity: type[Entity], name: str, notes: Iterable[object]) -> None:
    """Raise ConfigurationError for a note whose parentheses are missing, or that is of a class.

    ``Annotated[str, Unique]`` would be no unique key.
    """
    for note in notes:
        if isinstance(note, type) and issubclass(note, (*_NOTES, *_ARGUMENTS)):
            called = "MaxLength" if note is MaxLength else note.__name__
            raise ConfigurationError(
                f"is annotated with {called} itself, which says nothing",
                hint=f"write {called}(…), with its parentheses",
                entity=entity.__name__,
                field=name,
            )
        if isinstance(note, _ARGUMENTS):
            raise ConfigurationError(
                f"is annotated with a {type(note).__name__}, which is of a class",
                hint="give it to the class, as indexes=[Search(…)] or checks=[Check(…)]",
                entity=entity.__name__,
                field=name,
            )


def require_arguments(entity: type[Entity]) -> None:
    """Raise ConfigurationError for what is no index among a class's indexes, and no check."""
    listed: tuple[tuple[str, object, tuple[type, ...], str], ...] = (
        ("indexes", entity.__indexes__, _KEYS, 'Index("name"), Unique("name") or Search("name")'),
        ("checks", entity.__checks__, (Check,), 'Check("adult", F.age >= 18)'),
    )
    for argument, given, kinds, example in listed:
        for each in given if isinstance(given, tuple) else ():
            if not isinstance(each, kinds):
                kind = "the class itself" if isinstance(each, type) else f"a {type(each).__name__}"
                raise ConfigurationError(
                    f"among its {argument} is {kind}, which says nothing",
                    hint=f"write {argument}=[{example}]",
                    entity=entity.__name__,
                )
