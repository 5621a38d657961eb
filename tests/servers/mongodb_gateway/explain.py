"""``explain``: PostgreSQL's plan of a query in the shape of MongoDB's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import bson
from bson.raw_bson import RawBSONDocument

from .command import Command
from .engine import Link
from .errors import BAD_VALUE, CommandError

__all__ = ("explain",)

_FUNCTIONS: Final[Mapping[str, str]] = {
    "aggregate": "bson_aggregation_pipeline",
    "count": "bson_aggregation_count",
    "distinct": "bson_aggregation_distinct",
    "find": "bson_aggregation_find",
}
# PostgreSQL's nodes that read a collection or shape its result; others keep their own names.
_STAGES: Final[Mapping[str, str]] = {
    "Aggregate": "GROUP",
    "Bitmap Heap Scan": "FETCH",
    "Bitmap Index Scan": "IXSCAN",
    "Incremental Sort": "SORT",
    "Index Only Scan": "IXSCAN",
    "Index Scan": "IXSCAN",
    "Limit": "LIMIT",
    "Seq Scan": "COLLSCAN",
    "Sort": "SORT",
}
_EXECUTED: Final = frozenset({"executionStats", "allPlansExecution"})


async def explain(command: Command, link: Link) -> bytes:
    """Plan the query inside the command, and with a verbosity above queryPlanner run it.

    Raises CommandError 2 for a command that is not a query.
    """
    inner = command.fields[command.given_name]
    if not isinstance(inner, RawBSONDocument) or not (name := next(iter(inner), None)):
        raise CommandError(BAD_VALUE, "explain takes the command to be explained")
    function = _FUNCTIONS.get(name.lower())
    if function is None:
        raise CommandError(BAD_VALUE, f"explain of {name} is not supported")
    executed = command.text("verbosity", default="allPlansExecution") in _EXECUTED
    options = "FORMAT JSON, ANALYZE, TIMING OFF" if executed else "FORMAT JSON"
    row = await link.call(
        f"EXPLAIN ({options}) SELECT document FROM documentdb_api_catalog.{function}($1, $2)",
        command.database,
        inner.raw,
        milliseconds=command.milliseconds,
    )
    plan = json.loads(row[0])[0]
    answer: dict[str, Any] = {
        "explainVersion": "1",
        "queryPlanner": {
            "namespace": f"{command.database}.{inner[name]}",
            "winningPlan": _stage(plan["Plan"]),
            "rejectedPlans": [],
        },
        "ok": 1.0,
    }
    if executed:
        nodes = list(_nodes(plan["Plan"]))
        answer["executionStats"] = {
            "executionSuccess": True,
            "nReturned": plan["Plan"]["Actual Rows"],
            "executionTimeMillis": plan["Execution Time"],
            "totalDocsExamined": sum(
                node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                for node in nodes
                if "Relation Name" in node
            ),
        }
    return bson.encode(answer)


def _stage(node: Mapping[str, Any]) -> dict[str, Any]:
    stage: dict[str, Any] = {"stage": _STAGES.get(node["Node Type"], node["Node Type"].upper())}
    for ours, theirs in (("indexName", "Index Name"), ("direction", "Scan Direction")):
        if theirs in node:
            stage[ours] = node[theirs].lower() if ours == "direction" else node[theirs]
    inputs = [_stage(child) for child in node.get("Plans", ())]
    if len(inputs) == 1:
        stage["inputStage"] = inputs[0]
    elif inputs:
        stage["inputStages"] = inputs
    return stage


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
