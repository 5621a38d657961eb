"""The contenders: one module for each library, imported only when it takes part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import cast

from benchmarks.contender import Cannot, Open

__all__ = ("CONTENDERS", "Known", "names", "raw")

_SQL = ("sqlite", "postgresql", "mysql", "mariadb")


@dataclass(frozen=True, slots=True)
class Known:
    """A contender that can take part on servers of some schemes.

    ``raw``: it is the driver itself, against which the others are measured there.
    """

    module: str
    package: str
    schemes: tuple[str, ...]
    function: str = "opened"
    raw: bool = False

    def open(self) -> Open:
        """Return what opens it; raise Cannot if its library is not installed."""
        try:
            module = import_module(f"benchmarks.contenders.{self.module}")
        except ImportError as error:
            raise Cannot(f"not installed: {error.name} (dependency group bench)") from None
        return cast(Open, getattr(module, self.function))

    @property
    def version(self) -> str:
        """The version of its library, empty if that is not installed."""
        try:
            return version(self.package)
        except PackageNotFoundError:
            return ""


CONTENDERS: Mapping[str, Known] = {
    "asyncpg": Known("raw_postgresql", "asyncpg", ("postgresql",), raw=True),
    "aiomysql": Known("raw_mysql", "aiomysql", ("mysql", "mariadb"), "on_aiomysql", raw=True),
    "aiosqlite": Known("raw_sqlite", "aiosqlite", ("sqlite",), raw=True),
    "aiosqlite-locked": Known("raw_sqlite", "aiosqlite", ("sqlite",), "locked"),
    "pymongo": Known("raw_mongodb", "pymongo", ("mongodb",), raw=True),
    "asyncmy": Known("raw_mysql", "asyncmy", ("mysql", "mariadb"), "on_asyncmy"),
    "sqlalchemy-core": Known("sqlalchemy_core", "sqlalchemy", _SQL),
    "sqlalchemy-orm": Known("sqlalchemy_orm", "sqlalchemy", _SQL),
    "advanced-alchemy": Known("advanced_alchemy", "advanced-alchemy", _SQL),
    "tortoise": Known("tortoise", "tortoise-orm", _SQL),
    "beanie": Known("beanie", "beanie", ("mongodb",)),
    "healthstore": Known("own", "healthstore", (*_SQL, "mongodb")),
}


def names(scheme: str) -> list[str]:
    """Return the contenders for a server of this scheme, the raw driver first."""
    return [name for name, known in CONTENDERS.items() if scheme in known.schemes]


def raw(scheme: str) -> str:
    """Return the name of the driver against which the others are measured."""
    return next(name for name in names(scheme) if CONTENDERS[name].raw)
