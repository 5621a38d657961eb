"""The file ``healthstore.toml``, or the table ``[tool.healthstore]`` of a ``pyproject.toml``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, TypeAlias, get_type_hints
from urllib.parse import quote

from pydantic import Field, create_model

from healthstore.config.origin import Fields, Given, Origin
from healthstore.config.settings import (
    CursorKey,
    Evolve,
    IdempotencyHours,
    MemberOptions,
    Profile,
    Seed,
    Table,
)
from healthstore.config.variables import Variables
from healthstore.errors import ConfigurationError
from healthstore.routing.policy import FailoverPolicy, Mock, Probe

__all__ = (
    "SECTIONS",
    "Content",
    "File",
    "General",
    "Member",
    "Pool",
    "find_file",
    "read_file",
    "read_tree",
    "replaced",
    "schema",
)

Tree: TypeAlias = Mapping[str, object]
Seconds = Annotated[float, Field(gt=0, lt=86_400)]
_NAMES = ("healthstore.toml", "pyproject.toml")
_PROJECT = "pyproject.toml"
_REFERENCE = re.compile(r"\$(\$?)\{(\w+)\}")
# A password that stands in a URL itself.
_LITERAL = re.compile(r"://[^:/@]*:(?!\$\{\w+\}@)[^/@]+@")


def _table(name: str, source: type[Any], *, without: Collection[str] = ()) -> type[Table]:
    """Return the table of a dataclass: its fields, types and defaults."""
    hints = get_type_hints(source)
    wanted: dict[str, Any] = {
        each.name: (hints[each.name], each.default)
        for each in fields(source)
        if each.name not in without
    }
    made: type[Table] = create_model(
        name, __base__=Table, __doc__=f"See {source.__name__}.", **wanted
    )
    return made


class General(Table):
    """What stands outside of every table."""

    profile: Profile = Profile.DEVELOPMENT
    mock: Mock = Mock.OFF
    slow_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.5
    coalesce: bool = True
    evolve: Evolve = Evolve.OFF
    seed: Seed | None = None
    cursor_key: CursorKey | None = None
    idempotency_hours: IdempotencyHours = 24


class Pool(Table):
    """What holds for every member that says nothing else itself."""

    max_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    acquire_timeout: Seconds | None = None
    connect_timeout: Seconds | None = None
    timeout: Seconds | None = None


class Member(MemberOptions):
    """A member; without a name it is called by its kind. ``${NAME}`` is a variable's value."""

    name: str | None = None
    url: str


# The tables that have nothing but values, by name.
SECTIONS: Mapping[str, type[Table]] = {
    "pool": Pool,
    "failover": _table("Failover", FailoverPolicy, without={"mock", "probe"}),
    "probe": _table("Probe", Probe),
}
_MEMBER = tuple(Member.model_fields)
_TOP = (*General.model_fields, "members", *SECTIONS)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file, or an argument of the same shape, gives."""

    values: Mapping[str, Given]
    members: list[Fields] | None


@dataclass(frozen=True, slots=True)
class File:
    """A file that was read: its tree, without the tables of profiles, and those."""

    path: Path
    tree: Tree
    profiles: Mapping[str, Tree]

    def merged(self, profile: Profile) -> Content:
        """Return what the file gives in a profile, whose table goes before the rest."""
        below = read_tree(self.tree, Origin(str(self.path), (self.path,)))
        place = Origin(f"{self.path} [profiles.{profile.value}]", (self.path,))
        above = read_tree(self.profiles.get(profile.value, {}), place)
        members = below.members if above.members is None else above.members
        return Content({**below.values, **above.values}, members)


def find_file() -> Path | None:
    """Return the file of the current folder: ``healthstore.toml``, or a project's that has us."""
    for name in _NAMES:
        path = Path(name)
        if path.is_file() and (name != _PROJECT or _has_us(path)):
            return path
    return None


def _has_us(path: Path) -> bool:
    return "healthstore" in _tables(_load(path).get("tool", {}))


def read_file(path: Path) -> File:
    """Return what a file holds; raise ConfigurationError if it is not there or no TOML."""
    tree = _load(path)
    if path.name == _PROJECT:
        tree = _tables(_tables(tree.get("tool", {})).get("healthstore", {}))
    profiles = tree.get("profiles", {})
    if not isinstance(profiles, dict):
        raise _wrong("profiles", "a table", str(path))
    for name, table in profiles.items():
        if name not in set(Profile):
            raise _unknown(f"profiles.{name}", str(path), name, [each.value for each in Profile])
        if not isinstance(table, dict):
            raise _wrong(f"profiles.{name}", "a table", str(path))
        if "profile" in table:
            raise ConfigurationError(
                f"profiles.{name} sets the profile in {path}",
                hint="set it outside of the tables, or as HEALTHSTORE_PROFILE",
            )
    return File(path, {key: each for key, each in tree.items() if key != "profiles"}, profiles)


def read_tree(tree: Tree, origin: Origin) -> Content:
    """Return what a tree gives, by dotted names; texts of a file may refer to variables.

    Raises ConfigurationError for a name that there is not, with a did-you-mean and its place.
    """
    values: dict[str, Given] = {}
    members: list[Fields] | None = None
    for key, value in tree.items():
        if key == "members":
            members = _members(value, origin)
        elif key in SECTIONS:
            if not isinstance(value, Mapping):
                raise _wrong(key, "a table", origin.text)
            place = Origin(_inside(origin, key), origin.files)
            _require_known(value, tuple(SECTIONS[key].model_fields), key, origin.text)
            values |= {
                f"{key}.{name}": Given(each, place, refers=bool(place.files))
                for name, each in value.items()
            }
        else:
            _require_known({key: value}, _TOP, "", origin.text)
            values[key] = Given(value, origin, refers=bool(origin.files))
    return Content(values, members)


def schema() -> dict[str, object]:
    """Return the JSON schema of the file."""
    sections: dict[str, Any] = {
        "members": (list[Member | str], []),
        **{name: (table, table()) for name, table in SECTIONS.items()},
    }
    body = create_model("ProfileTable", __base__=General, **sections)
    profiles: dict[str, Any] = {"profiles": (GenericAlias(dict, (Profile, body)), {})}
    whole: type[Table] = create_model(
        "healthstore.toml",
        __base__=General,
        __doc__="The configuration of healthstore.",
        **sections,
        **profiles,
    )
    found = whole.model_json_schema()
    table = found["$defs"]["ProfileTable"]
    del table["properties"]["profile"]
    table["description"] = "What goes before the rest in this profile."
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except tomllib.TOMLDecodeError as error:
        # Only the place: the message may quote a part of a secret.
        place = re.search(r"at (line \d+, column \d+|end of document)", str(error))
        reason = f"is no TOML at {place[1]}" if place else "is no TOML"
    except UnicodeDecodeError:
        reason = "is not UTF-8 text"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    raise ConfigurationError(
        f"the file {path} {reason}", hint="`healthstore config init` writes one to begin with"
    )


def _members(value: object, origin: Origin) -> list[Fields]:
    if not isinstance(value, list | tuple):
        raise _wrong("members", "a list: write [[members]]", origin.text)
    found: list[Fields] = []
    for number, each in enumerate(value, start=1):
        table = {"url": each} if isinstance(each, str) else each
        if not isinstance(table, Mapping):
            raise _wrong(f"members[{number}]", "a table with a url", origin.text)
        name = table.get("name")
        label = name if isinstance(name, str) else str(number)
        _require_known(table, _MEMBER, f"members {label!r}", origin.text)
        if "url" not in table:
            raise ConfigurationError(
                f"the member {label!r} has no url in {origin}", hint="write url = …"
            )
        place = Origin(_inside(origin, "members", double=True), origin.files)
        found.append(
            {key: Given(part, place, refers=bool(place.files)) for key, part in table.items()}
        )
    return found


def _inside(origin: Origin, key: str, *, double: bool = False) -> str:
    """Return the place of a table in a file or its profile."""
    if not origin.files:
        return f"{origin} {key}"
    if origin.text.endswith("]"):
        text = f"{origin.text[:-1]}.{key}]"
        return text.replace(" [", " [[") + "]" if double else text
    return f"{origin} [[{key}]]" if double else f"{origin} [{key}]"


def replaced(key: str, given: Given, variables: Variables) -> Given:
    """Return a value with its references replaced; in a URL they are percent-encoded.

    Raises ConfigurationError if a variable that it refers to is not set.
    """
    value, used = given.value, given.origin
    if not given.refers or not isinstance(value, str):
        return given
    if _REFERENCE.search(value) and not _LITERAL.search(value):
        used = Origin(used.text)  # what is secret in it is not in the file
    encoded = key.endswith("url") and _REFERENCE.fullmatch(value) is None

    def text(found: re.Match[str]) -> str:
        nonlocal used
        if found[1]:
            return found[0][1:]
        variable = variables.get(found[2])
        if variable is None:
            raise ConfigurationError(
                f"{key} in {given.origin} refers to the variable {found[2]}, which is not set",
                hint=f"set {found[2]} or {found[2]}_FILE; a literal ${{ is written $${{",
            )
        used = Origin(
            f"{used.text} with {variable.origin}",
            (*used.files, *variable.origin.files),
            (*used.secret_files, *variable.origin.secret_files),
        )
        return quote(variable.text, safe="") if encoded else variable.text

    return Given(_REFERENCE.sub(text, value), used)


def _require_known(
    table: Mapping[str, object], known: Collection[str], place: str, where: str
) -> None:
    for key in table:
        if key not in known:
            raise _unknown(f"{place}.{key}" if place else key, where, key, known)


def _unknown(key: str, where: str, name: str, known: Collection[str]) -> ConfigurationError:
    close = get_close_matches(name, list(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    return ConfigurationError(f"there is no setting {key!r} in {where}", hint=hint)


def _wrong(key: str, what: str, where: str) -> ConfigurationError:
    return ConfigurationError(f"{key!r} in {where} must be {what}", hint="see the reference")


def _tables(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
