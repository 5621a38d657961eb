"""Variables: of the environment and of a ``.env`` file, and the secret files that they name."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from healthstore.config.origin import Given, Origin
from healthstore.errors import ConfigurationError

__all__ = ("Variable", "Variables", "read_dotenv", "readable_by_all", "stem")

_FILE = "_FILE"
_LONGEST = 65_536  # bytes: no secret is longer, and a wrong path may lead to anything
# Where orchestrators mount secrets: readable by all inside of a container that is one service.
_MOUNTS = (Path("/run/secrets"), Path("/var/run/secrets"))


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable's text, which ``repr`` does not show, and where it was set."""

    text: str = field(repr=False)
    origin: Origin


class Variables:
    """Variables by name. An empty one counts as not set, as in a compose file's ``${X:-}``.

    For each name ``X``, ``X_FILE`` may give the path of a file that holds the value.
    """

    def __init__(self, found: Mapping[str, Variable]) -> None:
        self._found = {name: each for name, each in found.items() if each.text}

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Variables:
        """Return the variables of a process's environment."""
        return cls(
            {
                name: Variable(text, Origin(f"environment variable {name}"))
                for name, text in environ.items()
            }
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def over(self, lower: Variables) -> Variables:
        """Return both; ``X`` or ``X_FILE`` here replaces ``X`` and ``X_FILE`` there."""
        stems = {stem(name) for name in self}
        kept = {name: each for name, each in lower._found.items() if stem(name) not in stems}
        return Variables({**kept, **self._found})

    def only(self, stems: Collection[str]) -> Variables:
        """Return those whose names, without ``_FILE``, are among ``stems``."""
        return Variables({name: each for name, each in self._found.items() if stem(name) in stems})

    def has(self, name: str) -> bool:
        """Tell whether ``name`` or ``name_FILE`` is set."""
        return name in self._found or name + _FILE in self._found

    def get(self, name: str) -> Given | None:
        """Return what ``name`` or the file of ``name_FILE`` gives, or None.

        Raises ConfigurationError, without any value, if both are set, if the text is not UTF-8
        or, in a ``.env`` file, holds ``${``, or if the file cannot be read or is empty.
        """
        plain, filed = self._found.get(name), self._found.get(name + _FILE)
        if plain and filed:
            raise ConfigurationError(
                f"both {plain.origin} and {filed.origin} are set", hint="unset one of them"
            )
        if filed:
            path = Path(filed.text)
            origin = Origin(f"{filed.origin}: {path}", (path,), (path,))
            return Given(_content(filed.origin, path), origin)
        if plain is None:
            return None
        if plain.origin.files and "${" in plain.text:
            raise ConfigurationError(
                f"{plain.origin} refers to another variable, and nothing is replaced there",
                hint=f"write the whole value; a literal ${{ can be in the file of {name}{_FILE}",
            )
        try:
            plain.text.encode()
        except UnicodeEncodeError:
            readable = False
        else:
            readable = True
        if not readable:
            raise ConfigurationError(f"{plain.origin} is not text", hint="encode it in UTF-8")
        return Given(plain.text, plain.origin)


def stem(name: str) -> str:
    """Return the name of a variable without ``_FILE``."""
    return name.removesuffix(_FILE)


def read_dotenv(path: Path) -> Variables:
    """Return the variables of a ``.env`` file.

    Raises ConfigurationError if it cannot be read, or a line of it cannot be parsed: what such a
    line should set would be missing without a word.
    """
    from dotenv.parser import parse_stream  # noqa: PLC0415 - few have such a file

    try:
        # Its other functions would replace ${…} also in quotes, or leave a line out.
        with path.open(encoding="utf-8") as stream:
            found = list(parse_stream(stream))
    except (OSError, UnicodeDecodeError) as error:
        reason = _reason(error)
    else:
        for each in found:
            if each.error:
                text = each.original.string  # with the empty lines before it
                line = each.original.line + text[: -len(text.lstrip())].count("\n")
                raise ConfigurationError(
                    f"line {line} of the file {path} cannot be parsed",
                    hint="write NAME=value; a value with spaces or quotes goes between quotes",
                )
        return Variables(
            {
                each.key: Variable(each.value or "", Origin(f"{each.key} in {path}", (path,)))
                for each in found
                if each.key is not None
            }
        )
    raise ConfigurationError(f"the file {path} cannot be read: {reason}", hint="check the file")


def readable_by_all(path: Path) -> bool:
    """Tell whether every user of this machine can read a file that should be secret."""
    if os.name != "posix":
        return False  # the mode says nothing there
    places = (path.absolute(), path.resolve())
    if any(each.is_relative_to(mount) for each in places for mount in _MOUNTS):
        return False
    return bool(path.stat().st_mode & stat.S_IROTH)


def _content(variable: Origin, path: Path) -> str:
    reason = ""
    try:
        if not path.is_file():
            reason = "is not a file" if path.exists() else "does not exist"
        elif path.stat().st_size > _LONGEST:
            reason = "is too long for a secret"
        else:
            text = path.read_bytes().decode()
            text = text.removesuffix("\n").removesuffix("\r")
            if text:
                return text
            reason = "is empty"
    except (OSError, UnicodeDecodeError) as error:
        reason = f"cannot be read: {_reason(error)}"
    raise ConfigurationError(
        f"the file {path} of {variable} {reason}", hint="check the path and the file"
    )


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else "it is not UTF-8 text"
