"""PostgreSQL's plans: a tree in JSON, whose expressions repeat the values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from healthstore.adapters.sql.plans import Planner, masked
from healthstore.model.plans import QueryPlan

__all__ = ("PLANNER",)

# What is no expression; https://www.postgresql.org/docs/current/using-explain.html
_PLAIN = frozenset(
    {
        *("Alias", "Index Name", "Join Type", "Node Type", "Parent Relationship"),
        *("Partial Mode", "Relation Name", "Scan Direction", "Schema", "Strategy"),
    }
)
_SORTS = frozenset({"Sort", "Incremental Sort"})


def _read(rows: Sequence[Sequence[Any]], statement: str) -> QueryPlan:
    answer = rows[0][0]
    said = json.loads(answer) if isinstance(answer, str | bytes) else answer
    tree = said[0]["Plan"]
    nodes = list(_nodes(tree))
    return QueryPlan(
        statement,
        index=next((each["Index Name"] for each in nodes if "Index Name" in each), None),
        rows=int(nodes[-1]["Plan Rows"]),  # what is read; a limit above it says nothing
        scan=any(map(_is_whole, nodes)),
        sort=any(each["Node Type"] in _SORTS for each in nodes),
        native=json.dumps(_masked(tree), ensure_ascii=False),
    )


def _is_whole(node: Mapping[str, Any]) -> bool:
    by_index = node["Node Type"] in {"Index Scan", "Index Only Scan"}
    return node["Node Type"] == "Seq Scan" or (by_index and "Index Cond" not in node)


def _nodes(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield tree
    for each in tree.get("Plans", ()):
        yield from _nodes(each)


def _masked(said: Any, key: str = "") -> Any:
    if isinstance(said, dict):
        node = cast("dict[str, Any]", said)
        return {name: _masked(value, name) for name, value in node.items()}
    if isinstance(said, list):
        return [_masked(each, key) for each in said]
    return masked(said) if isinstance(said, str) and key not in _PLAIN else said


PLANNER = Planner(
    prefix="EXPLAIN (FORMAT JSON) ", read=_read, primary=r"\w+_pkey", refresh="ANALYZE {}"
)
