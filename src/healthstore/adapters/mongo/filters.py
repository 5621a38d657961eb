"""Normal-form filters and orders as MongoDB queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from healthstore.adapters.mongo.codec import Codec, Stored, key_of, keys_of
from healthstore.adapters.mongo.paths import part_query, term_expression
from healthstore.adapters.mongo.texts import ends_pattern, pattern, successor, whole_pattern
from healthstore.errors import CapabilityError, InvalidRequestError
from healthstore.model.hidden import on_hidden
from healthstore.model.narrowing import untyped
from healthstore.model.ops import Find, Leading
from healthstore.model.parts import column_type
from healthstore.model.query import (
    And,
    FieldOrTerm,
    Filter,
    Lookup,
    Operator,
    Or,
    Order,
    OtherField,
    Test,
)
from healthstore.model.values import SORTED_TEXT, FieldType, Kind

__all__ = (
    "NOTHING",
    "compared",
    "computed_page",
    "distinct_page",
    "is_computed",
    "leading",
    "path_of",
    "projection",
    "query",
    "require_order",
    "sort_keys",
)

NOTHING: Mapping[str, Any] = {"_id": {"$in": []}}

_Compile: TypeAlias = Callable[[str, Any], Stored]


def query(filter_: Filter, codec: Codec) -> Stored:
    """Return the MongoDB query for a filter in normal form.

    No part of it holds for a null field, except for a test of null itself: comparisons look at
    values of the operand's own type, and negations exclude null by name. To a query a field that
    a document lacks equals null; to an expression it does not, unless :func:`_path` says so.
    """
    if isinstance(filter_, Test):
        if filter_.part is None:
            return _test(filter_, codec)
        # No index serves an expression, which a part as a value of a type is.
        beside = untyped(filter_, codec.collection)
        found = part_query(on_hidden(filter_))
        return found if beside is None else {"$and": [query(beside, codec), found]}
    if isinstance(filter_, And | Or):
        parts = [query(item, codec) for item in filter_.items]
        if isinstance(filter_, And):
            return {"$and": parts} if parts else {}
        return {"$or": parts} if parts else dict(NOTHING)
    denied = filter_.item
    if isinstance(denied, Test) and denied.part is not None:
        return {"$nor": [part_query(on_hidden(denied))]}
    # `normalise` moves every other negation into the tests.
    raise InvalidRequestError("the filter is not in normal form", hint="pass it to normalise()")


def _test(test: Test, codec: Codec) -> Stored:
    name, operator, operand = test.field, test.operator, test.operand
    if test.folded:
        sought: Any = list(operand) if isinstance(operand, tuple) else operand
        return _TESTS[operator](on_hidden(test).field, sought)
    kind = codec.collection.field(name).type
    if isinstance(operand, OtherField):
        return _pair(name, operator, operand.name, codec)
    assert not isinstance(operand, Lookup), "what it finds is read before"
    if isinstance(operand, tuple):
        written: Any = [codec.write(name, value) for value in operand]
    else:
        written = codec.write(name, operand)
    if kind.kind is Kind.JSON:
        return {"$expr": _JSON_TESTS[operator](path_of(name, codec), {"$literal": written})}
    if operator in _ORDERED:
        require_order(kind, codec, name)
    return _TESTS[operator](key_of(name), written)


def compared(key: str, operator: Operator, written: Any) -> Stored:
    """Return the query for a test of what a pipeline has computed, with stored values."""
    return _TESTS[operator](key, written)


def require_order(kind: FieldType, codec: Codec, name: str) -> None:
    """Raise CapabilityError for values that MongoDB orders in its own way."""
    if kind.kind is Kind.BYTES:
        raise CapabilityError(
            "MongoDB orders bytes by their length first",
            hint="order by another field, for example by a UUID or a text",
            entity=codec.collection.entity,
            field=name,
        )


def _compare(mongo: str) -> _Compile:
    return lambda key, value: {key: {mongo: value}}


def _not_equal(key: str, value: Any) -> Stored:
    return {key: {"$not": {"$in": [value, None]}}}


def _not_in(key: str, values: Any) -> Stored:
    return {key: {"$not": {"$in": [*values, None]}}}


def _is_null(key: str, _: Any) -> Stored:
    return {key: {"$eq": None}}


def _not_null(key: str, _: Any) -> Stored:
    return {key: {"$ne": None}}


def _starts(key: str, text: Any) -> Stored:
    """Compare with a range: exact for any text, and it can use an index."""
    if not text:
        return _not_null(key, None)
    end = successor(text)
    return {key: {"$gte": text} if end is None else {"$gte": text, "$lt": end}}


def _not_starts(key: str, text: Any) -> Stored:
    if not text:
        return dict(NOTHING)
    before: Stored = {key: {"$lt": text}}
    end = successor(text)
    return before if end is None else {"$or": [before, {key: {"$gte": end}}]}


def _contains(key: str, text: Any) -> Stored:
    return {key: {"$regex": pattern(text)}} if text else _not_null(key, None)


def _not_contains(key: str, text: Any) -> Stored:
    return {key: {"$not": {"$regex": pattern(text)}, "$ne": None}} if text else dict(NOTHING)


def _ends(key: str, text: Any) -> Stored:
    return {key: {"$regex": ends_pattern(text)}} if text else _not_null(key, None)


def _not_ends(key: str, text: Any) -> Stored:
    if not text:
        return dict(NOTHING)
    return {key: {"$not": {"$regex": ends_pattern(text)}, "$ne": None}}


def _matches(key: str, pattern: Any) -> Stored:
    return {key: {"$regex": whole_pattern(pattern)}}


def _not_matches(key: str, pattern: Any) -> Stored:
    return {key: {"$not": {"$regex": whole_pattern(pattern)}, "$ne": None}}


_ORDERED = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE})
_TESTS: dict[Operator, _Compile] = {
    Operator.EQ: _compare("$eq"),
    Operator.NE: _not_equal,
    Operator.LT: _compare("$lt"),
    Operator.LE: _compare("$lte"),
    Operator.GT: _compare("$gt"),
    Operator.GE: _compare("$gte"),
    Operator.IN: _compare("$in"),
    Operator.NOT_IN: _not_in,
    Operator.IS_NULL: _is_null,
    Operator.NOT_NULL: _not_null,
    Operator.CONTAINS: _contains,
    Operator.NOT_CONTAINS: _not_contains,
    Operator.STARTS: _starts,
    Operator.NOT_STARTS: _not_starts,
    Operator.ENDS: _ends,
    Operator.NOT_ENDS: _not_ends,
    Operator.MATCHES: _matches,
    Operator.NOT_MATCHES: _not_matches,
}


def path_of(name: str, codec: Codec) -> Any:
    """Return a field as an expression: null where a document lacks it."""
    path = f"${key_of(name)}"
    return {"$ifNull": [path, None]} if codec.collection.nullable(name) else path


def _pair(one: str, operator: Operator, other: str, codec: Codec) -> Stored:
    """Return the query for a comparison of two fields, which holds for no null.

    Only an expression looks at two fields, and to it null is a value, less than any other one.
    """
    paths = [path_of(one, codec), path_of(other, codec)]
    given = [
        {"$ne": [path, None]}
        for name, path in zip((one, other), paths, strict=True)
        if codec.collection.nullable(name)
    ]
    compared = {_COMPARED[operator]: paths}
    return {"$expr": {"$and": [*given, compared]} if given else compared}


_COMPARED: Mapping[Operator, str] = {
    Operator.EQ: "$eq",
    Operator.NE: "$ne",
    Operator.LT: "$lt",
    Operator.LE: "$lte",
    Operator.GT: "$gt",
    Operator.GE: "$gte",
}


def _not_null_json(path: Any, _: Any = None) -> Stored:
    return {"$ne": [path, None]}


# A whole JSON value is compared by an expression: a plain query would also look into arrays.
_JSON_TESTS: dict[Operator, Callable[[Any, Stored], Stored]] = {
    Operator.EQ: lambda path, value: {"$eq": [path, value]},
    Operator.NE: lambda path, value: {"$and": [{"$ne": [path, value]}, _not_null_json(path)]},
    Operator.IN: lambda path, values: {"$in": [path, values]},
    Operator.NOT_IN: lambda path, values: {
        "$and": [{"$not": [{"$in": [path, values]}]}, _not_null_json(path)]
    },
    Operator.IS_NULL: lambda path, _: {"$eq": [path, None]},
    Operator.NOT_NULL: _not_null_json,
}


def sort_keys(order: Sequence[Order], codec: Codec) -> list[tuple[str, int]]:
    """Return the driver's sort keys: null is smallest in MongoDB, too."""
    for each in order:
        require_order(codec.collection.field(each.field).type, codec, each.field)
    return [(key_of(each.field), -1 if each.descending else 1) for each in order]


def projection(columns: Sequence[FieldOrTerm]) -> Stored:
    """Return what asks for columns of documents, and no others; terms are expressions in it."""
    kept: Stored = {"_id": False}
    for key, each in zip(keys_of(columns), columns, strict=True):
        kept[key] = True if isinstance(each, str) else term_expression(each)
    return kept


def is_computed(op: Find) -> bool:
    """Tell whether a page needs a pipeline: to place nulls otherwise, or for a term."""
    return any(each.nulls is not None or each.part is not None for each in op.order) or any(
        not isinstance(each, str) for each in op.columns or ()
    )


def computed_page(op: Find, codec: Codec, *, whole: bool) -> list[Stored]:
    """Return the pipeline for a page that is sorted by what `find` cannot sort by.

    That is where null stands, if it is not smallest, and the heads of texts unless ``whole``.
    """
    kept = [] if op.columns is None else [{"$project": projection(op.columns)}]
    return [{"$match": query(op.where, codec)}, *_sorted(op, codec, whole=whole), *kept]


def distinct_page(op: Find, codec: Codec) -> list[Stored]:
    """Return the pipeline for distinct rows, sorted by whole texts."""
    columns = op.columns or ()
    key = {f"k{place}": _value_of(each, codec) for place, each in enumerate(columns)}
    row = {key: f"$_id.k{place}" for place, key in enumerate(keys_of(columns))}
    told_apart = [{"$group": {"_id": key}}, {"$replaceRoot": {"newRoot": row}}]
    return [
        {"$match": query(op.where, codec)},
        *told_apart,
        *_sorted(op, codec, whole=True, rows=columns),
    ]


def _sorted(
    op: Find, codec: Codec, *, whole: bool, rows: Sequence[FieldOrTerm] = ()
) -> list[Stored]:
    """Return the stages that sort and limit what is found: documents, or rows of these columns."""
    made, sort = _sorting(op.order, codec, whole=whole, rows=rows)
    page: list[Stored] = [{"$sort": sort}, {"$limit": op.limit}]
    return [{"$set": made}, *page, {"$unset": [*made]}] if made else page


def leading(op: Leading, codec: Codec) -> list[Stored]:
    """Return the pipeline for the first documents of each group."""
    made, sort = _sorting(op.order, codec, whole=False)
    first = {"$topN": {"n": op.first, "sortBy": sort, "output": "$$ROOT"}}
    computed = ([{"$set": made}], [{"$unset": [*made]}]) if made else ([], [])
    group = {f"k{place}": _value_of(each, codec) for place, each in enumerate(op.per)}
    return [
        {"$match": query(op.where, codec)},
        *computed[0],
        {"$group": {"_id": group, "first": first}},
        {"$sort": {f"_id.{key}": 1 for key in group}},
        {"$unwind": "$first"},
        {"$replaceRoot": {"newRoot": "$first"}},
        {"$limit": op.limit},
        *computed[1],
    ]


def _value_of(column: FieldOrTerm, codec: Codec) -> Any:
    """Return a field or a term as an expression, null where there is none."""
    return path_of(column, codec) if isinstance(column, str) else term_expression(column)


def _sorting(
    order: Sequence[Order], codec: Codec, *, whole: bool, rows: Sequence[FieldOrTerm] = ()
) -> tuple[Stored, Stored]:
    """Return what is computed of a document, under names of its own, and the keys to sort by."""
    made: Stored = {}  # names of fields begin with a letter, so that none of these is one
    sort: Stored = {}
    keys = dict(zip(rows, keys_of(rows), strict=True))
    for place, each in enumerate(order):
        column, direction = each.column, -1 if each.descending else 1
        kind = column_type(codec.collection, column)
        require_order(kind, codec, each.field)
        key = key_of(column) if isinstance(column, str) else keys.get(column)
        value = _value_of(column, codec) if key is None else f"${key}"
        null = {"$eq": [path_of(column, codec) if isinstance(column, str) else value, None]}
        if each.nulls is not None:
            made[f"_null{place}"] = {"$cond": [null, 0, 1] if each.nulls_first else [null, 1, 0]}
            sort[f"_null{place}"] = 1
        if not whole and kind.sorted_by_head:
            made[f"_{place}"] = {"$cond": [null, None, {"$substrCP": [value, 0, SORTED_TEXT]}]}
            sort[f"_{place}"] = direction
        elif key is None:
            made[f"_{place}"] = value
            sort[f"_{place}"] = direction
        else:
            sort[key] = direction
    return made, sort
