"""PostgreSQL: the dialect, and a driver on asyncpg.

Values travel in binary; several rows travel by COPY. Units run at REPEATABLE READ, so that
PostgreSQL itself ends a unit that would lose an update.
"""

from __future__ import annotations

from healthstore.adapters.sql.postgres.adapter import PostgresAdapter, connect
from healthstore.adapters.sql.postgres.dialect import POSTGRESQL

__all__ = ("POSTGRESQL", "PostgresAdapter", "connect")
