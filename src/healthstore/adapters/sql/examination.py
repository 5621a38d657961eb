"""What is asked of an SQL database to examine it: data for each one, and the one way to ask."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import time
from typing import Any

from healthstore.abc.examination import Examination, Setting
from healthstore.adapters.sql.dialect import Connection

__all__ = ("MYSQL", "POSTGRESQL", "SQLITE", "Questions", "Wanted", "examine")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which values of a setting are good, what any other does, and what to do about it."""

    good: frozenset[str]
    trouble: str
    remedy: str
    fatal: bool = False

    def setting(self, name: str, value: str) -> Setting:
        """Return a setting with this value."""
        if value.lower() in self.good:
            return Setting(name, value)
        return Setting(name, value, self.trouble, self.remedy, self.fatal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Queries of one row each; an empty one is not asked.

    ``settings`` maps the name of a setting to the expression of its value and what is wanted.
    ``clock`` gives seconds since 1970, ``encryption`` the protocol in its last column.
    """

    settings: Mapping[str, tuple[str, Wanted]] = field(default_factory=dict[str, Any])
    clock: str = ""
    zone: str = ""
    connections: str = ""
    encryption: str = ""


_ON = frozenset({"on", "1"})
_LOST = "acknowledged writes are lost when the server stops"

POSTGRESQL = Questions(
    settings={
        "fsync": (
            "current_setting('fsync')",
            Wanted(_ON, _LOST, "set fsync = on", fatal=True),
        ),
        "synchronous_commit": (
            "current_setting('synchronous_commit')",
            Wanted(
                frozenset({"on", "local", "remote_write", "remote_apply"}),
                _LOST,
                "set synchronous_commit = on",
                fatal=True,
            ),
        ),
        "full_page_writes": (
            "current_setting('full_page_writes')",
            Wanted(
                _ON,
                "a page that was half written at a power cut stays damaged",
                "set full_page_writes = on",
            ),
        ),
    },
    clock="SELECT extract(epoch FROM clock_timestamp())::float8",
    zone="SELECT current_setting('TimeZone')",
    connections="SELECT current_setting('max_connections')::int "
    "- current_setting('superuser_reserved_connections')::int",
    encryption="SELECT coalesce(version, '') FROM pg_catalog.pg_stat_ssl "
    "WHERE pid = pg_backend_pid()",
)

# MySQL and MariaDB; the binary log is what replicas and point-in-time recovery read.
MYSQL = Questions(
    settings={
        "innodb_flush_log_at_trx_commit": (
            "@@global.innodb_flush_log_at_trx_commit",
            Wanted(_ON, _LOST, "set innodb_flush_log_at_trx_commit = 1", fatal=True),
        ),
        "sync_binlog": (
            "IF(@@global.log_bin, @@global.sync_binlog, 'no binary log')",
            Wanted(
                _ON | {"no binary log"},
                "the binary log may lack the last commits after a power cut",
                "set sync_binlog = 1",
            ),
        ),
        "innodb_doublewrite": (
            "@@global.innodb_doublewrite",
            Wanted(
                _ON | {"detect_and_recover"},
                "a page that was half written at a power cut stays damaged",
                "set innodb_doublewrite = ON",
            ),
        ),
    },
    clock="SELECT UNIX_TIMESTAMP(NOW(6))",
    zone="SELECT @@session.time_zone",
    connections="SELECT @@global.max_connections",
    encryption="SHOW SESSION STATUS LIKE 'Ssl_version'",
)

SQLITE = Questions(
    settings={
        "synchronous": (
            "(SELECT synchronous FROM pragma_synchronous)",
            Wanted(frozenset({"2", "3"}), _LOST, "report this as a defect", fatal=True),
        ),
        "journal_mode": (
            "(SELECT journal_mode FROM pragma_journal_mode)",
            Wanted(
                frozenset({"wal"}),
                "readers and the writer wait for each other",
                "use a local file system that supports shared memory; a file that another program "
                "has made changes with the first collection in it",
            ),
        ),
    }
)


async def examine(
    connection: Connection, questions: Questions, *, verified: bool = False
) -> Examination:
    """Ask everything; an empty answer is none."""
    expressions = ", ".join(each for each, _ in questions.settings.values())
    values = await _row(connection, f"SELECT {expressions}")
    settings = tuple(
        wanted.setting(name, _text(value))
        for (name, (_, wanted)), value in zip(questions.settings.items(), values, strict=True)
    )
    before = time()
    clock = await _asked(connection, questions.clock)
    skew = None if clock is None else float(clock) - (before + time()) / 2
    zone = await _asked(connection, questions.zone)
    most = await _asked(connection, questions.connections)
    protocol = await _asked(connection, questions.encryption)
    return Examination(
        settings,
        encryption=None if protocol is None else _text(protocol),
        verified=verified and bool(protocol),
        skew=skew,
        zone=None if zone is None else _text(zone),
        connections=None if most is None else int(most),
    )


async def _row(connection: Connection, sql: str) -> tuple[Any, ...]:
    return tuple((await connection.fetch(sql, ()))[0])


async def _asked(connection: Connection, question: str) -> Any:
    """Return the answer's last column; None if it is not to be had."""
    if not question:
        return None
    with suppress(IndexError):  # no row: the server has nothing to say
        return (await _row(connection, question))[-1]
    return None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
