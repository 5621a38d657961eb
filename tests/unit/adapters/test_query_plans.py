"""Plans of queries are read, whatever a server calls things, and hold no value."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.adapters.mongo.plans import read_plan, template
from healthstore.adapters.sql.mysql.plans import MARIADB_PLANNER, MYSQL_PLANNER
from healthstore.adapters.sql.plans import Planner, masked
from healthstore.adapters.sql.postgres.plans import PLANNER as POSTGRESQL_PLANNER
from healthstore.adapters.sql.sqlite.plans import PLANNER as SQLITE_PLANNER
from healthstore.model.plans import PRIMARY, QueryPlan


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("(owner = 'zebra'::text)", "(owner = ?::text)"),
        ("((rank > 4711) AND (weight <= '-1.5e3'::numeric))", "((rank > ?) AND (weight <= ?::numeric))"),
        (r"(code ~ E'\\A(?:it''s \\'' 5)\\Z'::text)", "(code ~ ?::text)"),
        ("(id = ANY ('{a,\"b\"}'::uuid[]))", "(id = ANY (?::uuid[]))"),
        ('("it\'s 5" = 5)', '("it\'s 5" = ?)'),
        ("(x1 = $1)", "(x1 = $1)"),
        ("USING INDEX notes__a_1__0a1b2c3d (a=? AND b>?)", "USING INDEX notes__a_1__0a1b2c3d (a=? AND b>?)"),
    ],
)  # fmt: skip
def test_literals_are_masked(said: str, kept: str) -> None:
    """Texts and numbers, however they are quoted; names, types and places stay."""
    assert masked(said) == kept


@given(st.text(), st.integers())
def test_no_literal_survives(text: str, number: int) -> None:
    """A text as PostgreSQL writes it, beside a number and another text."""
    plain = "'" + text.replace("'", "''") + "'"
    written = "E" + plain.replace("\\", "\\\\") if "\\" in text else plain
    assert masked(f"((a = {written}::text) AND (b > {number}) AND (c = 'x'))") == (
        "((a = ?::text) AND (b > ?) AND (c = ?))"
    )


def _postgresql(node: dict[str, object]) -> list[list[object]]:
    return [[json.dumps([{"Plan": {"Node Type": "Limit", "Plan Rows": 5, "Plans": [node]}}])]]


_SCAN = {"Node Type": "Seq Scan", "Plan Rows": 90, "Filter": "(a = 'zebra'::text)"}
_BY_INDEX = {"Node Type": "Index Scan", "Index Name": "i", "Plan Rows": 7, "Index Cond": "(a = 5)"}
_WALK = {"Node Type": "Index Scan", "Index Name": "i", "Plan Rows": 90}


@pytest.mark.parametrize(
    ("planner", "rows", "index", "estimate", "scan", "sort"),
    [
        (POSTGRESQL_PLANNER, _postgresql(_SCAN), None, 90, True, False),
        (POSTGRESQL_PLANNER, _postgresql(_BY_INDEX), "i", 7, False, False),
        (POSTGRESQL_PLANNER, _postgresql(_WALK), "i", 90, True, False),
        (
            POSTGRESQL_PLANNER,
            _postgresql({"Node Type": "Sort", "Plan Rows": 9, "Plans": [_SCAN]}),
            *(None, 90, True, True),
        ),
        (
            MYSQL_PLANNER,
            [[1, "SIMPLE", "t", None, "ref", "i", "i", "16", "const", 25, 100.0, None]],
            *("i", 25, False, False),
        ),
        (
            MYSQL_PLANNER,
            [[1, "SIMPLE", None, None, None, None, None, None, None, None, None, "no matching row"]],
            *(None, None, False, False),
        ),
        (
            MARIADB_PLANNER,
            [[1, "SIMPLE", "t", "ALL", None, None, None, None, "60", "Using where; Using filesort"]],
            *(None, 60, True, True),
        ),
        (
            MARIADB_PLANNER,
            [[1, "SIMPLE", "t", "ref|filter", "i,j", "i|j", "16|8", "const", "1 (2%)", "Using where"]],
            *("i", 1, False, False),
        ),
        (SQLITE_PLANNER, [[1, 0, 0, "SEARCH t USING INDEX i (a=?)"]], "i", None, False, False),
        (SQLITE_PLANNER, [[1, 0, 0, "SCAN t USING COVERING INDEX i"]], "i", None, True, False),
        (
            SQLITE_PLANNER,
            [[1, 0, 0, "SCAN t"], [2, 0, 0, "USE TEMP B-TREE FOR LAST TERM OF ORDER BY"]],
            *(None, None, True, True),
        ),
    ],
)  # fmt: skip
def test_an_answer_of_sql_is_read(  # noqa: PLR0917 - each is a column of the table
    planner: Planner,
    rows: Sequence[Sequence[object]],
    index: str | None,
    estimate: int | None,
    scan: bool,  # noqa: FBT001 - as above
    sort: bool,  # noqa: FBT001 - as above
) -> None:
    """Which index, how many rows, whether all is read, whether it is sorted; without values."""
    plan = planner.read(rows, "SELECT")
    assert plan == QueryPlan("SELECT", index, estimate, scan, sort, plan.native)
    assert "zebra" not in plan.native


_IXSCAN = {"stage": "IXSCAN", "indexName": "i", "indexBounds": {"a": ['["zebra", "zebra"]']}}
_ALL = {"stage": "IXSCAN", "indexName": "i", "indexBounds": {"a": ["[MinKey, MaxKey]"]}}


@pytest.mark.parametrize(
    ("tree", "index", "scan", "sort"),
    [
        ({"stage": "FETCH", "inputStage": _IXSCAN}, "i", False, False),
        ({"stage": "LIMIT", "inputStage": {"stage": "FETCH", "inputStage": _ALL}}, "i", True, False),
        ({"stage": "SORT", "inputStage": {"stage": "COLLSCAN", "filter": {"a": "zebra"}}}, None, True, True),
        ({"queryPlan": {"stage": "FETCH", "inputStage": _IXSCAN}, "slotBasedPlan": {"x": "zebra"}}, "i", False, False),
        ({"stage": "OR", "inputStages": [_IXSCAN, _IXSCAN]}, "i", False, False),
        ({"stage": "IDHACK"}, PRIMARY, False, False),
        ({"stage": "IXSCAN", "indexName": "_id_"}, PRIMARY, False, False),
        ({"stage": "CUSTOM SCAN", "inputStage": {"stage": "IXSCAN", "indexName": "_id_"}}, None, True, False),
        ({"Node Type": "Sort", "Plan Rows": 9.0, "Sort Key": ["zebra"], "Plans": [
            {"Node Type": "Custom Scan", "Plan Rows": 9.0, "IndexDetails": [{"indexName": "i", "indexBounds": ["zebra"]}]}
        ]}, "i", False, True),
        ({}, None, None, None),
    ],
)  # fmt: skip
def test_an_answer_of_mongodb_is_read(
    tree: dict[str, object],
    index: str | None,
    scan: bool | None,  # noqa: FBT001 - a column of the table
    sort: bool | None,  # noqa: FBT001 - as above
) -> None:
    """In the form of MongoDB, of a gateway to DocumentDB and of FerretDB; without values."""
    plan = read_plan(tree, "find")
    assert (plan.index, plan.scan, plan.sort) == (index, scan, sort)
    assert "zebra" not in plan.native


def test_a_template_has_no_value() -> None:
    """Operators and names stay, and paths of expressions; texts that look like a path do not."""
    query = {
        "$and": [
            {"a": {"$eq": "$zebra"}},
            {"b": {"$in": [1, "zebra"]}},
            {"$expr": {"$gte": ["$a", "$b"]}},
            {"$expr": {"$eq": [{"$ifNull": ["$c", None]}, {"$literal": "zebra"}]}},
        ]
    }
    assert template(query) == {
        "$and": [
            {"a": {"$eq": "?"}},
            {"b": {"$in": "?"}},
            {"$expr": {"$gte": ["$a", "$b"]}},
            {"$expr": {"$eq": [{"$ifNull": ["$c", None]}, {"$literal": "?"}]}},
        ]
    }
