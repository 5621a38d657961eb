"""The adapter of MySQL and MariaDB: what a URL says, and what the server must be."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from math import ceil
from ssl import SSLContext
from typing import Any, TypeAlias, cast

from healthstore.abc.backend import Capabilities
from healthstore.abc.options import common_options, encryption
from healthstore.abc.tls import Tls, read_tls, tls_context
from healthstore.abc.url import BackendURL
from healthstore.adapters.sql import prober
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.adapters.sql.dialect import Connection, Dialect
from healthstore.adapters.sql.errors import misconfigured
from healthstore.adapters.sql.mysql.connection import dial
from healthstore.adapters.sql.mysql.dialect import MARIADB, MYSQL
from healthstore.adapters.sql.mysql.line import Line
from healthstore.adapters.sql.pool import Pool, PoolOptions
from healthstore.errors import ConfigurationError, MissingDriverError
from healthstore.model.ops import Delete, Get, Insert, Patch
from healthstore.model.values import SORTED_TEXT

__all__ = ("MySqlAdapter", "connect")

_SMALLEST_PACKET = 16 << 20
_LOCK_WAIT_SECONDS = 10
_SORTED_BYTES = 4 * SORTED_TEXT + 8  # of a sort key: code points of utf8mb4, and a length
_SORT_BUFFER = 4 << 20
_SQL_MODE = (
    "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "ONLY_FULL_GROUP_BY,NO_ENGINE_SUBSTITUTION"
)


def connect(url: BackendURL, name: str) -> MySqlAdapter:
    """Return the adapter for ``mysql://`` or ``mariadb://user:password@host:port/database``.

    ``mysql+asyncmy://`` takes another driver. Raises MissingDriverError if it is not installed.
    """
    module = _DRIVERS.get(url.driver)
    if module is None:
        raise ConfigurationError(
            f"MySQL has no driver {url.driver!r}", hint="write mysql://… or mysql+asyncmy://…"
        )
    options: dict[str, Any] = url.read_options(
        {**common_options(url), "ssl": (read_tls, None), "charset": (_utf8mb4, "utf8mb4")}
    )
    options["tls"] = encryption(url, options, "ssl")
    if not url.database:
        raise ConfigurationError(
            "the URL names no database", hint=f"write {url.scheme}://user@host/database"
        )
    return MySqlAdapter(name, url, options, _load(module, url))


# From the name in a URL to a module beside this one.
_DRIVERS = {"": "aiomysql", "aiomysql": "aiomysql", "pymysql": "aiomysql", "asyncmy": "asyncmy"}

_Open: TypeAlias = Callable[[BackendURL, "SSLContext | None"], Awaitable[Line]]


def _load(driver: str, url: BackendURL) -> _Open:
    """Return how a driver logs in."""
    try:
        return cast(_Open, import_module(f"healthstore.adapters.sql.mysql.{driver}").log_in)
    except ModuleNotFoundError as error:
        if error.name != driver:
            raise
        raise MissingDriverError(
            f"the driver {driver!r} is not installed",
            hint=f"python -m pip install 'healthstore[{driver}]'",
            backend=url.scheme,
        ) from error


def _utf8mb4(text: str) -> str:
    if text != "utf8mb4":
        raise ValueError(text)
    return text


_CAPABILITIES = Capabilities(
    semi_joins=True,
    parts=True,
    locks=True,
    coalesced=frozenset({Delete, Get, Insert, Patch}),
)


class MySqlAdapter(SqlAdapter):
    """A MySQL or MariaDB database behind a pool of connections."""

    capabilities = _CAPABILITIES

    def __init__(
        self, name: str, url: BackendURL, options: Mapping[str, Any], log_in: _Open
    ) -> None:
        super().__init__(name)
        # Until the server has said which one it is.
        said = (each.dialect for each in _PRODUCTS if each.name.lower() in url.scheme)
        self.dialect = next(said, MYSQL)
        self.probing = prober.MYSQL
        self.connect_seconds = options["connect_timeout"]
        self._options = options
        self._tls = tls_context(options["tls"], options["tls_ca"])
        self._log_in = partial(log_in, url, self._tls)
        self.verified = options["tls"] is Tls.VERIFY
        self._product = _PRODUCTS[0]

    async def connect(self) -> None:
        """Connect once, learn which product and version serves, and check its settings."""
        self.writers = self.readers = Pool(self.dial_pooled, PoolOptions.read(self._options))
        async with self.writers.lend() as connection:
            ((version, packet, flush),) = await connection.fetch(
                "SELECT VERSION(), @@max_allowed_packet, @@innodb_flush_log_at_trx_commit", ()
            )
        self._product = _product(version)
        self.dialect = self._product.dialect
        self.capabilities = self._product.capabilities
        if _version(version) < self._product.oldest:
            oldest = ".".join(map(str, self._product.oldest))
            raise misconfigured(
                f"the {self._product.name} server is too old", hint=f"{oldest} or newer is needed"
            )
        if packet < _SMALLEST_PACKET:
            raise misconfigured(
                f"the server's max_allowed_packet is {packet} bytes",
                hint=f"set it to {_SMALLEST_PACKET} or more",
            )
        if flush != 1:
            raise misconfigured(
                "the server loses acknowledged commits when it stops",
                hint="set innodb_flush_log_at_trx_commit = 1",
            )

    async def dial(self) -> Connection:
        """Open a connection and set what the server may have set otherwise."""
        return await dial(self._log_in, self._prelude)

    def _prelude(self, version: str) -> Sequence[str]:
        product = _product(version)
        return (
            f"SET NAMES utf8mb4 COLLATE {product.collation}",
            f"SET SESSION sql_mode = '{_SQL_MODE}', time_zone = '+00:00'",
            # For rows, and for the definitions of tables: by default a day, or a year.
            f"SET SESSION innodb_lock_wait_timeout = {_LOCK_WAIT_SECONDS}",
            f"SET SESSION lock_wait_timeout = {ceil(self._options['timeout'])}",
            # By default MariaDB sorts by the first 1,024 bytes of a text, without a word.
            f"SET SESSION max_sort_length = {_SORTED_BYTES}, sort_buffer_size = {_SORT_BUFFER}",
            f"SET SESSION {product.deadline(self._options['timeout'])}",
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        )


@dataclass(frozen=True, slots=True)
class _Product:
    """What differs between the two products on one wire protocol."""

    name: str
    mark: str
    """Occurs in the server's version."""
    dialect: Dialect
    collation: str
    oldest: tuple[int, int]
    deadline: Callable[[float], str]
    """The setting that ends a statement on the server after some seconds."""
    capabilities: Capabilities


_PRODUCTS = (
    _Product(
        "MariaDB",
        "MariaDB",
        MARIADB,
        "utf8mb4_nopad_bin",
        (10, 11),
        lambda seconds: f"max_statement_time = {seconds:g}",
        # Its paths have no such key, and its functions of JSON read 31 levels.
        replace(_CAPABILITIES, hyphen_keys=False, deep_json=False),
    ),
    _Product(
        "MySQL",
        "",
        MYSQL,
        "utf8mb4_0900_bin",
        (8, 0),
        lambda seconds: f"max_execution_time = {int(seconds * 1000)}",
        replace(_CAPABILITIES, element_indexes=True, term_indexes=True),
    ),
)


def _product(version: str) -> _Product:
    return next(product for product in _PRODUCTS if product.mark in version)


def _version(text: str) -> tuple[int, int]:
    # MariaDB may hide behind "5.5.5-", for old replicas.
    major, minor = re.findall(r"\d+", text.removeprefix("5.5.5-"))[:2]
    return int(major), int(minor)
