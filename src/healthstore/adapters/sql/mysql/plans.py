"""Plans of MySQL and MariaDB: rows of a table, which hold no values.

MySQL's plans in JSON are of another form in each release, and repeat the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from healthstore.adapters.sql.plans import Planner
from healthstore.model.plans import QueryPlan

__all__ = ("MARIADB_PLANNER", "MYSQL_PLANNER")

# The columns of each, as EXPLAIN gives them.
_MYSQL = (
    *("id", "select_type", "table", "partitions", "type", "possible_keys", "key", "key_len"),
    *("ref", "rows", "filtered", "Extra"),
)
_MARIADB = tuple(name for name in _MYSQL if name not in {"partitions", "filtered"})


def _reader(columns: Sequence[str]) -> Callable[[Sequence[Sequence[Any]], str], QueryPlan]:
    def read(rows: Sequence[Sequence[Any]], statement: str) -> QueryPlan:
        said = [dict(zip(columns, row, strict=True)) for row in rows]
        first = said[0]
        extra = str(first["Extra"] or "")
        return QueryPlan(
            statement,
            index=None if first["key"] is None else _first(first["key"]),
            rows=None if first["rows"] is None else int(_first(first["rows"])),
            scan=first["type"] is not None and _first(first["type"]) in {"ALL", "index"},
            sort="Using filesort" in extra,
            native="\n".join(
                ", ".join(f"{name}={value}" for name, value in each.items() if value is not None)
                for each in said
            ),
        )

    return read


def _first(told: Any) -> str:
    """Return what is told of the index that is read.

    MariaDB tells of one that it filters by, too: "ref|filter", "one|other", "1 (2%)".
    """
    return str(told).partition("|")[0].partition(" ")[0]


MYSQL_PLANNER = Planner(
    prefix="EXPLAIN FORMAT=TRADITIONAL ",
    read=_reader(_MYSQL),
    primary="PRIMARY",
    refresh="ANALYZE TABLE {}",
)
MARIADB_PLANNER = Planner(
    prefix="EXPLAIN ", read=_reader(_MARIADB), primary="PRIMARY", refresh="ANALYZE TABLE {}"
)
