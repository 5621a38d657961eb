"""Variables of our own: ``HEALTHSTORE_*``; two underscores stand for a dot."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

from healthstore.config.file import SECTIONS, General
from healthstore.config.origin import Fields, Given
from healthstore.config.settings import MemberOptions
from healthstore.config.variables import Variables, stem
from healthstore.errors import ConfigurationError

__all__ = ("Own", "read_own")

_LOG = logging.getLogger("healthstore.config")
_PREFIX = "HEALTHSTORE_"
# Names of tests, the demo and the benchmarks.
_OTHERS = re.compile(r"HEALTHSTORE_(TEST_\w+|DEMO_\w+|DATA)")
_MEMBER = ("url", *MemberOptions.model_fields)
# A comma ends a URL if another URL follows: between the hosts of one it does not.
_BETWEEN = re.compile(r",\s*(?=[A-Za-z][A-Za-z0-9+.-]*://)")
_KNOWN = (
    "PRIMARY",
    "SECONDARIES",
    *(name.upper() for name in General.model_fields),
    *(
        f"{section}__{name}".upper()
        for section, table in SECTIONS.items()
        for name in table.model_fields
    ),
)


@dataclass(slots=True)
class Own:
    """What the variables say: values by dotted names, members, and changes to members.

    ``first`` is the name of the member that is to be the active one; ``secondaries`` follow the
    first member of whatever source names it.
    """

    values: dict[str, Given] = field(default_factory=dict)
    members: list[Fields] | None = None
    secondaries: list[Fields] | None = None
    changes: dict[str, dict[str, Given]] = field(default_factory=dict)
    first: Given | None = None


def read_own(variables: Variables) -> Own:
    """Return what the variables say; warn of a name that there is not, with a did-you-mean."""
    own = Own()
    for name, given in _given(variables):
        match name.lower().split("__"):
            case ["primary"] if "://" in given.text:
                own.members = [{"url": given}]
            case ["primary"]:
                own.first = given
            case ["secondaries"]:
                own.secondaries = _secondaries(given)
            case ["members", member, setting] if setting in _MEMBER:
                own.changes.setdefault(member, {})[setting] = given
            case parts if name in _KNOWN:
                own.values[".".join(parts)] = given
            case _:
                _warn(name)
    if own.members is not None and own.secondaries is not None:
        own.members += own.secondaries
        own.secondaries = None
    return own


def _given(variables: Variables) -> Iterator[tuple[str, Given]]:
    for name in sorted({stem(name) for name in variables if name.startswith(_PREFIX)}):
        given = None if _OTHERS.fullmatch(name) else variables.get(name)
        if given is not None:
            yield name.removeprefix(_PREFIX), given


def _secondaries(given: Given) -> list[Fields]:
    texts = [text.strip() for text in _BETWEEN.split(given.text.strip().strip(","))]
    if any("://" not in text for text in texts):
        raise ConfigurationError(
            f"{given.origin} is not a list of URLs", hint="separate URLs by commas"
        )
    return [{"url": Given(text, given.origin)} for text in texts]


def _warn(name: str) -> None:
    known = _KNOWN
    if name.startswith("MEMBERS__"):
        member = name.removeprefix("MEMBERS__").rpartition("__")[0] or "NAME"
        known = tuple(f"MEMBERS__{member}__{each}".upper() for each in _MEMBER)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {_PREFIX}{close[0]}?" if close else "see docs/reference/configuration.md"
    _LOG.warning("there is no variable %s%s: %s", _PREFIX, name, hint)
