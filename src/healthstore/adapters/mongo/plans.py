"""Plans of queries: what the server says of a page, read without its values.

Three forms are read: that of MongoDB, a tree of stages; the same as a gateway to DocumentDB writes
it; and that of FerretDB, a tree of PostgreSQL's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from healthstore.adapters.mongo.codec import Codec, Stored
from healthstore.adapters.mongo.filters import computed_page, is_computed, query, sort_keys
from healthstore.adapters.mongo.session import Session
from healthstore.model.ops import Find
from healthstore.model.plans import PRIMARY, QueryPlan

__all__ = ("explain_find", "read_plan", "template")

_ID = "_id_"
_CHILDREN = ("inputStage", "inputStages", "queryPlan", "Plans", "IndexDetails")
_NAMES = ("indexName", "Index Name")
_STAGES = ("stage", "Node Type")
# What is told of a stage and holds no value; all else is masked.
_PLAIN = frozenset(
    {
        *("stage", "indexName", "direction", "keyPattern", "isMultiKey", "isUnique", "isSparse"),
        *("isPartial", "indexVersion", "Node Type", "Index Name", "Scan Direction"),
        *("Custom Plan Provider", "Parent Relationship", "Plan Rows", "Startup Cost"),
        *("Total Cost", "indexKey"),
    }
)


async def explain_find(session: Session, codec: Codec, op: Find, milliseconds: int) -> QueryPlan:
    """Ask for the plan of a page; the server explains nothing inside a transaction."""
    name = op.collection.name
    told = f"db.getCollection({json.dumps(name)})"
    if is_computed(op):
        pipeline = computed_page(op, codec, whole=True)
        command: Stored = {"aggregate": name, "pipeline": pipeline, "cursor": {}}
        stages = [{"$limit": "?"} if "$limit" in each else template(each) for each in pipeline]
        statement = f"{told}.aggregate({_text(stages)})"
    else:
        where, sort = query(op.where, codec), dict(sort_keys(op.order, codec))
        command = {"find": name, "filter": where, "sort": sort, "limit": op.limit}
        statement = f"{told}.find({_text(template(where))}).sort({_text(sort)}).limit(?)"
    driver = session.database.driver
    answer = await driver.command(
        {"explain": command, "verbosity": "queryPlanner", "maxTimeMS": milliseconds},
        codec_options=driver.codec_options,
    )
    return read_plan(_planned(answer), statement)


def _planned(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the root of the tree, wherever a server puts it."""
    planner = answer.get("queryPlanner")
    if planner is None:
        first: Mapping[str, Any] = next(iter(answer.get("stages", ())), {})
        planner = first.get("$cursor", {}).get("queryPlanner", {})
    return cast("Mapping[str, Any]", planner.get("winningPlan") or planner.get("Plan") or {})


def read_plan(tree: Mapping[str, Any], statement: str) -> QueryPlan:
    """Return the plan that a server's tree tells."""
    nodes = list(_nodes(tree))
    stages = {str(each[key]).upper() for each in nodes for key in _STAGES if key in each}
    index = next((each[name] for each in nodes for name in _NAMES if name in each), None)
    # DocumentDB reads a whole collection by the index of all ids.
    whole = index == _ID and "CUSTOM SCAN" in stages
    rows = [each["Plan Rows"] for each in nodes if "Plan Rows" in each]
    return QueryPlan(
        statement,
        index=None if whole else PRIMARY if index == _ID or "IDHACK" in stages else index,
        rows=int(rows[-1]) if rows else None,
        scan=whole or any(map(_is_whole, nodes)) if stages else None,
        sort=any("SORT" in each for each in stages) if stages else None,
        native=_text(_masked(tree)),
    )


def _is_whole(node: Mapping[str, Any]) -> bool:
    """Tell whether a stage reads a collection, or an index, from one end to the other."""
    bounds = node.get("indexBounds")
    if isinstance(bounds, Mapping):
        each = [str(part) for part in cast("Mapping[str, list[Any]]", bounds).values()]
        return all("MinKey" in part and "MaxKey" in part for part in each)
    return node.get("stage") == "COLLSCAN" or node.get("Node Type") == "Seq Scan"


def _nodes(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield tree
    for key in _CHILDREN:
        below = tree.get(key, ())
        for each in (below,) if isinstance(below, Mapping) else below:
            yield from _nodes(cast("Mapping[str, Any]", each))


def _masked(said: Any, key: str = "") -> Any:
    """Return what was said with a ``?`` for all that is not known to be without values."""
    if key in _PLAIN:
        return said
    if isinstance(said, Mapping) and (key in _CHILDREN or not key):
        node = cast("Mapping[str, Any]", said)
        return {name: _masked(value, name) for name, value in node.items()}
    if isinstance(said, list) and key in _CHILDREN:
        return [_masked(each) for each in said]
    return "?"


def template(part: Any, *, inside: bool = False) -> Any:
    """Return a part of a query with a ``?`` for each value; paths of an expression are none."""
    if isinstance(part, Mapping):
        node = cast("Mapping[str, Any]", part)
        return {
            key: "?"
            if key == "$literal"
            else template(value, inside=inside or key in {"$expr", "$set", "$sort", "$unset"})
            for key, value in node.items()
        }
    if isinstance(part, list):
        items = [template(each, inside=inside) for each in part]
        return items if inside or any(isinstance(each, dict) for each in items) else "?"
    return part if inside and isinstance(part, str | int | None) else "?"


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
