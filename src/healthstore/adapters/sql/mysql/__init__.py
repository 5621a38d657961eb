"""MySQL and MariaDB: two dialects, told apart by the server's version, and one driver.

Each connection sets what a server may have set otherwise: strict mode, UTC, binary collation,
autocommit, and matched instead of changed rows. A connection that cannot be set is refused.
"""

from __future__ import annotations

from healthstore.adapters.sql.mysql.adapter import MySqlAdapter, connect
from healthstore.adapters.sql.mysql.dialect import MARIADB, MYSQL

__all__ = ("MARIADB", "MYSQL", "MySqlAdapter", "connect")
