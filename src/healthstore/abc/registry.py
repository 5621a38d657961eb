"""From a URL's scheme to the adapter that serves it.

The built-in schemes are in :data:`BUILT_IN`; others come from entry points of the group
``healthstore.backends``, whose name is the scheme and whose object is a function
``(url: BackendURL, name: str) -> Backend``. Drivers are imported only when a scheme is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import TypeAlias, cast

from healthstore.abc.backend import Backend
from healthstore.abc.url import BackendURL
from healthstore.errors import ConfigurationError, MissingDriverError

__all__ = ("BUILT_IN", "BuiltIn", "Connect", "connect", "kind_of", "schemes")

Connect: TypeAlias = Callable[[BackendURL, str], Backend]
GROUP = "healthstore.backends"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """Where a scheme's adapter is, and which distribution brings its driver.

    ``port`` is where its servers listen if a URL names no port; ``library`` is where the version
    of a library is that the driver does not bring itself.
    """

    target: str
    kind: str
    distributions: tuple[str, ...] = ()
    port: int | None = None
    library: str = ""


_POSTGRESQL = BuiltIn("healthstore.adapters.sql.postgres:connect", "postgresql", ("asyncpg",), 5432)
_MYSQL = BuiltIn("healthstore.adapters.sql.mysql:connect", "mysql", ("aiomysql", "pymysql"), 3306)
_MARIADB = BuiltIn(_MYSQL.target, "mariadb", _MYSQL.distributions, _MYSQL.port)
_SQLITE = BuiltIn(
    "healthstore.adapters.sql.sqlite:connect", "sqlite", library="sqlite3:sqlite_version"
)
_MONGODB = BuiltIn("healthstore.adapters.mongo:connect", "mongodb", ("pymongo", "bson"), 27017)

BUILT_IN: dict[str, BuiltIn] = {
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,
    "mysql": _MYSQL,
    "mariadb": _MARIADB,
    "sqlite": _SQLITE,
    "mongodb": _MONGODB,
    "memory": BuiltIn("healthstore.adapters.memory:connect", "memory"),
}


def schemes() -> tuple[str, ...]:
    """Return every scheme that can be used, sorted."""
    third_party = (point.name for point in entry_points(group=GROUP))
    return tuple(sorted({*BUILT_IN, *third_party}))


def kind_of(url: BackendURL) -> str:
    """Return the kind of backend that serves a URL: ``"postgresql"`` also for ``postgres://``."""
    built_in = BUILT_IN.get(url.scheme)
    return url.scheme if built_in is None else built_in.kind


def connect(url: BackendURL, name: str | None = None) -> Backend:
    """Return the adapter for a URL, not opened; ``name`` defaults to the backend's kind.

    Raises ConfigurationError for an unknown scheme (with a did-you-mean) and MissingDriverError,
    with the line that installs it, if the driver is not there.
    """
    built_in = BUILT_IN.get(url.scheme)
    if built_in is not None:
        return _load(built_in)(url, name or built_in.kind)
    for point in entry_points(group=GROUP, name=url.scheme):
        return cast(Connect, point.load())(url, name or url.scheme)
    raise ConfigurationError(
        f"no backend is known for the scheme {url.scheme!r}", hint=_suggest(url.scheme, schemes())
    )


def _suggest(scheme: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(scheme, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known schemes: {', '.join(names)}"


def _load(built_in: BuiltIn) -> Connect:
    module, _, attribute = built_in.target.partition(":")
    try:
        return cast(Connect, getattr(import_module(module), attribute))
    except ModuleNotFoundError as error:
        # Only the driver itself: a driver that is there but broken must say so.
        missing = (error.name or "").partition(".")[0]
        if missing not in built_in.distributions:
            raise
        raise MissingDriverError(
            f"the driver {missing!r} is not installed",
            hint=f"python -m pip install {missing}",
            backend=built_in.kind,
        ) from error
