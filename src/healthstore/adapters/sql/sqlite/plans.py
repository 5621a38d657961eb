"""SQLite's plans: lines that name indexes, and hold no values and no estimates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from healthstore.adapters.sql.plans import Planner, masked
from healthstore.model.plans import QueryPlan

__all__ = ("PLANNER",)

_INDEX = re.compile(r"USING (?:COVERING )?INDEX (\w+)")


def _read(rows: Sequence[Sequence[Any]], statement: str) -> QueryPlan:
    lines = [str(row[-1]) for row in rows]
    found = [match[1] for line in lines if (match := _INDEX.search(line))]
    return QueryPlan(
        statement,
        index=found[0] if found else None,
        scan=any(line.startswith("SCAN ") for line in lines),
        sort=any(line.startswith("USE TEMP B-TREE") for line in lines),
        native="\n".join(map(masked, lines)),
    )


PLANNER = Planner(
    prefix="EXPLAIN QUERY PLAN ",
    read=_read,
    primary="",
    columns="SELECT name FROM pragma_index_info(?) ORDER BY seqno",
    refresh="ANALYZE {}",
)
