"""Variables that services already have: ``DATABASE_URL``, ``POSTGRES_HOST``, ``DB_TYPE`` and kin.

See docs/reference/configuration.md for what each means. A variable that names a store enables a
member; names that disagree are an error that names both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import reduce
from operator import add
from os.path import realpath
from urllib.parse import quote

from healthstore.abc.registry import BUILT_IN, BuiltIn
from healthstore.abc.url import BackendURL, has_control_character, is_host
from healthstore.config.kinds import is_durable, store
from healthstore.config.origin import Fields, Given, Origin, told
from healthstore.config.settings import parsed
from healthstore.config.variables import Variables
from healthstore.errors import ConfigurationError

__all__ = ("NAMES", "common", "members", "url_of", "with_dotenv")


@dataclass(frozen=True, slots=True)
class _Family:
    """Variables that together describe one member.

    ``parts`` maps a part of the URL to the names that give it, ``enabling`` are the names of
    which one is enough for the member to be there. ``kind`` None: ``type`` is among the parts.
    """

    kind: str | None
    enabling: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the family."""
        return tuple({*self.enabling, *(name for names in self.parts.values() for name in names)})


_URLS = ("DATABASE_URL", "PRIMARY_DATABASE_URL")
_REPLICA = "REPLICA_DATABASE_URL"
_CHOICE = "PRIMARY_DATABASE"
_SWITCH = "ENABLE_SQLITE"  # says whether, not which
_GENERIC = _Family(
    None,
    ("DB_TYPE", "DB_HOST", "DB_NAME"),
    {
        "type": ("DB_TYPE",),
        "host": ("DB_HOST",),
        "port": ("DB_PORT",),
        "user": ("DB_USER",),
        "password": ("DB_PASSWORD",),
        "database": ("DB_NAME",),
        "tls": ("DB_SSL",),
    },
)
# In the order in which those that are not chosen become secondaries.
_FAMILIES: tuple[_Family, ...] = (
    _Family("mongodb", ("MONGODB_URI",), {"url": ("MONGODB_URI",)}),
    _Family(
        "mysql",
        ("MYSQL_HOST", "MYSQL_DATABASE"),
        {
            "host": ("MYSQL_HOST",),
            "port": ("MYSQL_PORT",),
            "user": ("MYSQL_USER",),
            "password": ("MYSQL_PASSWORD",),
            "database": ("MYSQL_DATABASE",),
        },
    ),
    _Family(
        "postgresql",
        ("POSTGRES_HOST", "POSTGRES_DATABASE", "POSTGRES_DB"),
        {
            "host": ("POSTGRES_HOST",),
            "port": ("POSTGRES_PORT",),
            "user": ("POSTGRES_USER",),
            "password": ("POSTGRES_PASSWORD",),
            "database": ("POSTGRES_DATABASE", "POSTGRES_DB"),
        },
    ),
    _Family(
        "sqlite",
        ("SQLITE_PATH", "ENABLE_SQLITE"),
        {"enabled": ("ENABLE_SQLITE",), "database": ("SQLITE_PATH",)},
    ),
)
# Each of these names stands for itself: it makes a member without the others.
_ALONE = tuple(_Family(None, (name,)) for name in (*_URLS, _REPLICA))
_ALL = (*_ALONE, _GENERIC, *_FAMILIES)
_COMMON = {"MAX_DB_CONNECTIONS": "pool.max_size", "SLOW_QUERY_THRESHOLD": "slow_seconds"}
NAMES = frozenset({name for each in _ALL for name in each.names} | {_CHOICE, *_COMMON})
"""Every name that is read here, without ``_FILE``."""

_TLS = {
    **dict.fromkeys(("true", "1", "yes", "on", "verify"), "verify"),
    **dict.fromkeys(("false", "0", "no", "off"), "off"),
    "encrypt": "encrypt",
}
_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def url_of(  # noqa: PLR0913 - the parts of a URL
    scheme: str,
    *,
    host: str = "",
    port: str = "",
    user: str = "",
    password: str | None = None,
    database: str = "",
) -> str:
    """Return the URL of these parts; each keeps every character, whatever it means in a URL."""
    secret = "" if password is None else f":{quote(password, safe='')}"
    credentials = f"{quote(user, safe='')}{secret}@" if user or secret else ""
    place = quote(host, safe="") + (f":{port}" if port else "")
    return f"{scheme}://{credentials}{place}/{quote(database, safe='/')}"


def with_dotenv(environment: Variables, dotenv: Variables) -> tuple[Variables, bool]:
    """Return the variables of the environment with what a ``.env`` file adds to them.

    As soon as the environment itself names a store (the second value), the file only completes
    what it began: a member of the file never joins those of the environment.
    """
    begun = [
        each
        for each in _ALL
        if any(environment.has(name) for name in each.enabling if name != _SWITCH)
    ]
    if not begun:
        return environment.over(dotenv), False
    kept = {name for each in begun for name in each.names}
    chosen = dotenv.get(_CHOICE)
    if chosen is not None and any(
        each.kind and _target(each.kind) == _target(chosen.text.lower()) for each in begun
    ):
        kept.add(_CHOICE)
    return environment.over(dotenv.only(kept)), True


def common(variables: Variables) -> dict[str, Given]:
    """Return what is given for all members together."""
    found: dict[str, Given] = {}
    for name, key in _COMMON.items():
        given = variables.get(name)
        if given is not None:
            found[key] = given
    slow = found.get("slow_seconds")
    if slow is not None:  # in milliseconds there
        found["slow_seconds"] = Given(_number(slow) / 1000, slow.origin)
    return found


def members(variables: Variables) -> list[Fields] | None:
    """Return what the variables say about each member, the active one first; None: nothing.

    Raises ConfigurationError, naming the variables and never a value.
    """
    others = {
        each.kind: (each, parts)
        for each in _FAMILIES
        if (parts := _enabled(variables, each)) is not None
    }
    chosen = _chosen(variables)
    first = _stated(variables)
    if first is not None:
        first = _with_choice(first, chosen)
        same = _family(parsed(first["url"].text).scheme)
        if same is not None and same.kind in others:
            first = _agreed(first, others.pop(same.kind)[1])
    elif chosen is not None:
        scheme, given = chosen
        family = _family(scheme)
        if family is None or family.kind not in others:
            raise _missing(variables, family, given)
        first = _member(*others.pop(family.kind))
    elif others:
        first = _member(*others.pop(next(iter(others))))
    replica = variables.get(_REPLICA)
    if first is None:
        if replica is not None:
            raise ConfigurationError(
                f"{replica.origin} is set, but no primary",
                hint="set PRIMARY_DATABASE_URL or DATABASE_URL",
            )
        return None
    copies: list[Fields] = []
    if replica is not None:
        copies.append(
            {
                "name": Given("replica", replica.origin),
                "url": replica,
                "read_only": Given(True, replica.origin),  # noqa: FBT003 - the value of a field
            }
        )
    return [first, *copies, *(_member(*each) for each in others.values())]


def _stated(variables: Variables) -> Fields | None:
    """Return the member that is described without regard to its kind."""
    urls = [each for each in map(variables.get, _URLS) if each is not None]
    for each in urls[1:]:
        if not _same(_url(urls[0]), _url(each)):
            raise _conflict(urls[0], each, "the database")
    parts = _given(variables, _GENERIC)
    if urls:
        return _agreed({"url": urls[0]}, parts)
    if not any(variables.has(name) for name in _GENERIC.enabling):
        return None
    named = parts.get("type")
    if named is None:
        raise ConfigurationError(
            f"{next(iter(parts.values())).origin} is set, but DB_TYPE is not",
            hint="set DB_TYPE, for example to postgresql",
        )
    return _assembled(_scheme(named), parts, "DB_NAME")


def _with_choice(first: Fields, chosen: tuple[str, Given] | None) -> Fields:
    url = first["url"]
    if chosen is not None and _target(_url(url).scheme) != _target(chosen[0]):
        raise _conflict(url, chosen[1], "the kind of the first database")
    return first


def _chosen(variables: Variables) -> tuple[str, Given] | None:
    given = variables.get(_CHOICE)
    return None if given is None else (_scheme(given), given)


def _missing(variables: Variables, family: _Family | None, chosen: Given) -> ConfigurationError:
    """Return the error of a choice that no variable enables."""
    if family is None:
        known = ", ".join(each.kind or "" for each in _FAMILIES)
        return ConfigurationError(
            f"{chosen.origin} names a kind that has no variables here", hint=f"known: {known}"
        )
    enabled = _given(variables, family).get("enabled")
    if enabled is not None:
        return ConfigurationError(
            f"{chosen.origin} and {enabled.origin} disagree about SQLite", hint="change one of them"
        )
    return ConfigurationError(
        f"{chosen.origin} chooses {family.kind}, but {family.enabling[0]} is not set",
        hint=f"set {' and '.join(family.enabling[:2])}",
    )


def _enabled(variables: Variables, family: _Family) -> dict[str, Given] | None:
    """Return the parts of a family that is enabled, or None."""
    if not any(variables.has(name) for name in family.enabling):
        return None
    parts = _given(variables, family)
    enabled = parts.get("enabled")
    return None if enabled is not None and not _boolean(enabled) else parts


def _member(family: _Family, parts: Mapping[str, Given]) -> Fields:
    kind = family.kind or ""
    url = parts.get("url")
    if url is not None:
        if _target(_url(url).scheme) != _target(kind):
            raise ConfigurationError(
                f"{url.origin} is not the URL of {kind}", hint="use DATABASE_URL for other kinds"
            )
        return {"url": url}
    named = {part: given for part, given in parts.items() if part != "enabled"}
    if not named:
        raise ConfigurationError(
            f"{parts['enabled'].origin} is set, but SQLITE_PATH is not", hint="set SQLITE_PATH"
        )
    return _assembled(kind, named, family.parts["database"][0])


def _given(variables: Variables, family: _Family) -> dict[str, Given]:
    """Return the parts of a family that are given."""
    found: dict[str, Given] = {}
    for part, names in family.parts.items():
        givens = [each for each in map(variables.get, names) if each is not None]
        for each in givens[1:]:
            if each.text != givens[0].text:
                raise _conflict(givens[0], each, f"the {part}")
        if givens:
            found[part] = givens[0]
    for part, given in found.items():
        _require_clean(part, given)
    return found


def _require_clean(part: str, given: Given) -> None:
    """Refuse what a copied line leaves in a part; a URL's own check ignores space around it."""
    text = given.text
    if part == "url":
        return
    if has_control_character(text):
        raise ConfigurationError(
            f"{given.origin} holds a control character", hint="remove the line end, tab or NUL"
        )
    if part != "password" and text != text.strip():
        raise ConfigurationError(f"{given.origin} begins or ends with a space", hint="remove it")
    if part == "host" and not is_host(text):
        raise ConfigurationError(
            f"{given.origin} is no host name and no address",
            hint="only the name, as in db.example.org: the port, user and database have variables "
            "of their own; several hosts go into a URL",
        )


def _assembled(scheme: str, parts: Mapping[str, Given], database: str) -> Fields:
    """Return the member of these parts; ``database`` is the variable that names its database."""
    texts = {part: given.text for part, given in parts.items() if part not in {"tls", "type"}}
    port = parts.get("port")
    if port is not None and not (port.text.isascii() and port.text.isdecimal()):
        raise ConfigurationError(f"{port.origin} is not a number", hint="as in 5432")
    if "database" not in parts and is_durable(BackendURL(scheme)):
        # To guess a name may mean somebody else's data.
        origin = next(iter(parts.values())).origin
        raise ConfigurationError(
            f"{origin} is set, but no database is named", hint=f"set {database}"
        )
    if BUILT_IN[scheme].port is not None:
        texts.setdefault("host", "localhost")
    else:
        for part in ("password", "tls"):
            if part in parts:
                raise ConfigurationError(
                    f"{parts[part].origin} is set, and {scheme} has none", hint="unset it"
                )
    origin = reduce(add, (given.origin for part, given in parts.items() if part != "tls"))
    url = Given(url_of(scheme, **texts), origin)
    _url(url)
    return {"url": url, **_secured(parts)}


def _agreed(fields: Fields, parts: Mapping[str, Given]) -> Fields:
    """Return the member of a URL after a check that the parts say the same, or add to it."""
    given = fields["url"]
    url = _url(given)
    named = parts.get("type")
    if named is not None and _target(_scheme(named)) != _target(url.scheme):
        raise _conflict(given, named, "the kind of the database")
    if "url" in parts and not _same(url, _url(parts["url"])):
        raise _conflict(given, parts["url"], "the database")
    default = BUILT_IN[url.scheme].port if url.scheme in BUILT_IN else None
    said: dict[str, set[str]] = {
        "host": {each.name.lower() for each in url.hosts} or {"localhost"},
        "port": {str(each.port or default) for each in url.hosts} or {str(default)},
        "user": {url.user or ""},
        "database": {url.database, *([] if url.hosts else [realpath(url.database)])},
    }
    if url.password is not None:
        said["password"] = {url.password}
    for part, values in said.items():
        other = parts.get(part)
        if other is None:
            continue
        text = other.text.lower() if part == "host" else other.text
        if text not in values and (url.hosts or realpath(text) not in values):
            raise _conflict(given, other, f"the {part}")
    extra: dict[str, Given] = _secured(parts)
    if url.password is None and "password" in parts:
        extra["password"] = parts["password"]
    return {**fields, **extra}


def _secured(parts: Mapping[str, Given]) -> dict[str, Given]:
    tls = parts.get("tls")
    if tls is None:
        return {}
    value = _TLS.get(tls.text.lower())
    if value is None:
        raise ConfigurationError(
            f"{tls.origin} is neither true nor false",
            hint="true verifies the server's certificate; 'encrypt' does not",
        )
    return {"tls": Given(value, tls.origin)}


def _boolean(given: Given) -> bool:
    value = _BOOLEANS.get(given.text.lower())
    if value is None:
        raise ConfigurationError(f"{given.origin} is neither true nor false", hint="write true")
    return value


def _number(given: Given) -> float:
    if given.text.isascii() and given.text.replace(".", "", 1).isdecimal():
        return float(given.text)
    raise ConfigurationError(f"{given.origin} is not a number", hint="milliseconds, as in 500")


def _url(given: Given) -> BackendURL:
    try:
        return parsed(given.text)
    except ConfigurationError as error:
        raise told(error, given.origin) from None


def _same(left: BackendURL, right: BackendURL) -> bool:
    return (store(left), left.user, left.password) == (store(right), right.user, right.password)


def _scheme(given: Given) -> str:
    """Return the scheme that a variable names; its text is not shown: it may be a mistake."""
    text = given.text.lower()
    if text in BUILT_IN:
        return text
    close = get_close_matches(text, list(BUILT_IN), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(BUILT_IN)}"
    raise ConfigurationError(f"{given.origin} names no kind of backend", hint=hint)


def _target(scheme: str) -> str:
    built_in: BuiltIn | None = BUILT_IN.get(scheme)
    return built_in.target if built_in else scheme


def _family(scheme: str) -> _Family | None:
    """Return the family whose backends a scheme means, if it has one."""
    found: Iterable[_Family] = (
        each for each in _FAMILIES if each.kind and _target(each.kind) == _target(scheme)
    )
    return next(iter(found), None)


def _conflict(left: Given, right: Given, about: str) -> ConfigurationError:
    return ConfigurationError(
        f"{_place(left.origin)} and {_place(right.origin)} disagree about {about}",
        hint="unset one of them; two databases of one kind go into HEALTHSTORE_PRIMARY and "
        "HEALTHSTORE_SECONDARIES",
    )


def _place(origin: Origin) -> str:
    return origin.text
