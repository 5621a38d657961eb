"""What configuration must know about backends: data, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from healthstore.abc.registry import BUILT_IN, kind_of
from healthstore.abc.url import BackendURL, Host

__all__ = ("OPTIONS", "Option", "Store", "is_durable", "store")


@dataclass(frozen=True, slots=True)
class Option:
    """A setting that every member takes as an option of its URL, under the same name.

    ``read`` makes of an option's text what the setting holds. ``native`` are options of drivers
    for the same purpose: a URL that has one says already what the setting would say.
    """

    read: Callable[[str], object]
    native: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Store:
    """What makes two URLs the same store: equal values are one database.

    A file is the same under each of its names; until it is there, it is known by its path.
    """

    family: str
    places: tuple[str, ...]
    database: str


OPTIONS: Mapping[str, Option] = {
    "pool_size": Option(int, ("maxPoolSize",)),
    "acquire_timeout": Option(float, ("waitQueueTimeoutMS",)),
    "connect_timeout": Option(float, ("connectTimeoutMS",)),
    "timeout": Option(float),
    "tls": Option(str, ("sslmode", "ssl")),
    "tls_ca": Option(str, ("tlsCAFile",)),
}
# What they acknowledge ends with the process.
_VOLATILE = frozenset({"memory"})


def is_durable(url: BackendURL) -> bool:
    """Tell whether what the backend of a URL acknowledges outlives the process."""
    return kind_of(url) not in _VOLATILE


def store(url: BackendURL) -> Store | None:
    """Return what identifies the store of a URL; None if each use of it is another store."""
    built_in = BUILT_IN.get(url.scheme)
    family = built_in.target if built_in else url.scheme
    port = built_in.port if built_in else None
    if not url.hosts and port is None:  # no server: the database is a file, or there is none
        return Store(family, (), _file(url.database)) if url.database else None
    places = sorted({_place(each, port) for each in url.hosts or (Host("localhost"),)})
    return Store(family, tuple(places), url.database or url.user or "")


def _file(path: str) -> str:
    try:
        found = os.stat(path)  # noqa: PTH116 - a text, which need not be a path
    except (OSError, ValueError):
        return os.path.realpath(path)
    return f"{found.st_dev}:{found.st_ino}"


def _place(host: Host, port: int | None) -> str:
    if host.name.startswith("/"):  # the path of a socket
        return host.name
    return f"{'localhost' if host.local else host.name.lower().rstrip('.')} {host.port or port}"
