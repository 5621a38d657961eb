"""SQLite: the dialect, and a driver on sqlite3.

One connection writes and others read (write-ahead log); ``synchronous=FULL`` makes every
acknowledged commit durable; tables are STRICT, so a column holds one type.
"""

from __future__ import annotations

from healthstore.adapters.sql.sqlite.adapter import SqliteAdapter, connect
from healthstore.adapters.sql.sqlite.dialect import SQLITE
from healthstore.adapters.sql.sqlite.driver import File

__all__ = ("SQLITE", "File", "SqliteAdapter", "connect")
