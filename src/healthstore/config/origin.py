"""Values together with where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from healthstore.errors import ConfigurationError

__all__ = ("ARGUMENT", "DEFAULT", "Fields", "Given", "Origin", "told")

_VARIABLE, _VARIABLES = "environment variable ", "environment variables "


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from, as text for people; never a part of the value.

    ``files`` are the files that hold it, and of these ``secret_files`` hold nothing else.
    """

    text: str
    files: tuple[Path, ...] = ()
    secret_files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return self.text

    def __add__(self, other: Origin) -> Origin:
        """Return the origin of a value made from two."""
        text = f"{self.text}, {other.text}"
        if other.text.startswith(_VARIABLE) and self.text.startswith(_VARIABLE[:-1]):
            first = self.text.removeprefix(_VARIABLE).removeprefix(_VARIABLES)
            text = f"{_VARIABLES}{first}, {other.text.removeprefix(_VARIABLE)}"
        return Origin(
            text,
            tuple(dict.fromkeys((*self.files, *other.files))),
            tuple(dict.fromkeys((*self.secret_files, *other.secret_files))),
        )


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave; ``repr`` does not show it.

    ``refers``: a text may hold ``${NAME}``, which is replaced when the value is used.
    """

    value: object = field(repr=False)
    origin: Origin
    refers: bool = False

    @property
    def text(self) -> str:
        """The value as text."""
        return str(self.value)


Fields: TypeAlias = Mapping[str, Given]
"""What is given for one member: by the names of MemberSettings."""

DEFAULT = Origin("default")
ARGUMENT = Origin("argument")


def told(error: ConfigurationError, origin: Origin) -> ConfigurationError:
    """Return the error with the place where its cause can be corrected."""
    hint = f"{error.hint}; it comes from {origin}" if error.hint else f"it comes from {origin}"
    return type(error)(error.message, hint=hint, field=error.field, backend=error.backend)
