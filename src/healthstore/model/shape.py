"""The shape of a request: what it asks for, without any value.

A shape can be logged and grouped by: it holds names of collections and fields, operators and
numbers of documents, never an operand, a document or an id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from healthstore.model.definition import Index, Unique
from healthstore.model.ops import (
    Aggregate,
    Alter,
    Batch,
    Bucket,
    Claim,
    CountDocuments,
    Delete,
    DeleteWhere,
    Drop,
    Ensure,
    Explain,
    ExplainFind,
    Find,
    Get,
    Insert,
    Leading,
    Measure,
    Op,
    Patch,
    Patches,
    PatchWhere,
    RefreshStatistics,
    Rename,
    Replace,
)
from healthstore.model.query import (
    ALL,
    PLURAL,
    And,
    Filter,
    Lookup,
    Not,
    Operator,
    OtherField,
    Test,
    column_key,
)

__all__ = ("MAX_SHAPE", "counted", "filter_shape", "index_shape", "shape", "unique_shape")

MAX_SHAPE = 500
"""The length of the longest shape, in code points."""
_MAX_DEPTH = 6  # levels of a filter that are written out
_MORE = "…"

_Pieces = Iterator[str]
_SYMBOLS: Mapping[Operator, str] = {Operator.EQ: "="}
_WITHOUT_OPERAND = frozenset({Operator.IS_NULL, Operator.NOT_NULL, Operator.IS_MISSING})
_CHANGING = (" set ", " increment ", " at least ", " at most ")  # the parts of a patch
_MANY = PLURAL | {Operator.HAS_ANY, Operator.HAS_ALL}


def shape(op: Op[Any]) -> str:
    """Return the request without its values: ``find users where email = ? limit 1``.

    At most ``MAX_SHAPE`` code points; what is too long or too deep is elided as ``…``.
    """
    return _shortened(_pieces(op))


def filter_shape(where: Filter, *, counts: bool = True) -> str:
    """Return a filter without its values, elided as :func:`shape` elides: ``(a > ? or b = ?)``.

    Without ``counts`` it does not tell how many values a list has either: ``a in ?``.
    """
    return _shortened(_filter(where, 0, counts=counts))


def index_shape(index: Index) -> str:
    """Return an index in words, without values: ``index (status) where status = ?``."""
    part = "" if index.where is None else f" where {filter_shape(index.where)}"
    return f"index ({', '.join(index.texts)}){part}"


def unique_shape(unique: Unique) -> str:
    """Return a unique key in words, without values: ``unique key (email) where status = ?``."""
    part = "" if unique.where is None else f" where {filter_shape(unique.where)}"
    return f"{unique}{part}"


def _shortened(pieces: _Pieces) -> str:
    taken: list[str] = []
    room = MAX_SHAPE
    for piece in pieces:
        # Pieces are made one by one: a filter of thousands of parts costs what is shown of it.
        if len(piece) > room:
            return "".join(taken)[: MAX_SHAPE - 1] + _MORE
        taken.append(piece)
        room -= len(piece)
    return "".join(taken)


def _pieces(op: Op[Any]) -> _Pieces:
    write = _WRITERS.get(type(op))
    return iter((type(op).__name__.lower(),)) if write is None else write(op)


def _ensure(op: Ensure) -> _Pieces:
    yield "ensure "
    yield from _listed(collection.name for collection in op.collections)


def _alter(op: Alter) -> _Pieces:
    yield f"alter {op.after.name}"


def _rename(op: Rename) -> _Pieces:
    yield f"rename {op.before.name}"


def _explain(op: Explain) -> _Pieces:
    yield "explain "
    yield from _pieces(op.change)


def _explain_find(op: ExplainFind) -> _Pieces:
    yield "explain "
    yield from _find(op.find)


def _refresh(op: RefreshStatistics) -> _Pieces:
    yield f"refresh statistics {op.collection.name}"


def _drop(op: Drop) -> _Pieces:
    yield f"drop {op.collection.name}"


def _get(op: Get) -> _Pieces:
    yield f"get {op.collection.name} {counted(len(op.ids), 'id')}"


def _insert(op: Insert) -> _Pieces:
    yield f"insert {op.collection.name} {counted(len(op.documents), 'document')}"


def _replace(op: Replace) -> _Pieces:
    yield f"replace {op.collection.name} {counted(len(op.documents), 'document')}"


def _patch(op: Patch) -> _Pieces:
    yield f"patch {op.collection.name} {counted(len(op.ids), 'id')}"
    yield from _changes(op)


def _patch_where(op: PatchWhere) -> _Pieces:
    yield f"patch {op.collection.name}"
    yield from _changes(op.as_patch())
    yield from _where(op.where)


def _changes(op: Patch) -> _Pieces:
    for verb, names in zip(_CHANGING, op.form, strict=True):
        if names:
            yield verb
            yield from _listed(names)


def _claim(op: Claim) -> _Pieces:
    yield f"claim {op.collection.name}"
    yield from _where(op.where)
    yield " order "
    yield from _listed(map(str, op.order))
    yield f" limit {op.limit}"


def _delete(op: Delete) -> _Pieces:
    yield f"delete {op.collection.name} {counted(len(op.ids), 'id')}"


def _delete_where(op: DeleteWhere) -> _Pieces:
    yield f"delete {op.collection.name}"
    yield from _where(op.where)


def _find(op: Find) -> _Pieces:
    yield f"find {op.collection.name}"
    if op.columns is not None:
        yield " distinct (" if op.distinct else " ("
        yield from _listed(map(column_key, op.columns))
        yield ")"
    yield from _where(op.where)
    if op.after is not None:
        yield " after ?"
    if op.order:
        yield " order "
        yield from _listed(map(str, op.order))
    yield f" limit {op.limit}"


def _leading(op: Leading) -> _Pieces:
    yield f"first {op.first} of {op.collection.name} per "
    yield from _listed(map(column_key, op.per))
    yield from _where(op.where)
    if op.order:
        yield " order "
        yield from _listed(map(str, op.order))
    yield f" limit {op.limit}"


def _count(op: CountDocuments) -> _Pieces:
    yield f"count {op.collection.name}"
    yield from _where(op.where)


def _aggregate(op: Aggregate) -> _Pieces:
    yield f"aggregate {op.collection.name} "
    if op.unwind is not None:
        yield f"unwind {op.unwind.field} "
    if op.terms:
        yield "of "
        yield from _listed([each.key for each in op.terms])
        yield " "
    yield from _listed(map(_measure, op.measures))
    yield from _where(op.where)
    if op.group:
        yield " group "
        yield from _listed(map(_key, op.group))
    if op.having != ALL:
        yield " having "
        yield from _filter(op.having, 0)
    if op.order:
        yield " order "
        yield from _listed(map(str, op.order))
    if op.take is not None:
        yield f" limit {op.take}"


def _key(key: str | Bucket) -> str:
    return key if isinstance(key, str) else f"{key.unit}({key.field})"


def _measure(measure: Measure) -> str:
    by = f" by {measure.by}" if measure.by else ""
    return f"{measure.function}({measure.field or '*'}{by})"


def _patches(op: Patches) -> _Pieces:
    yield f"patch {op.collection.name} {counted(len(op.patches), 'time')}"


def _batch(op: Batch) -> _Pieces:
    yield "batch "
    for number, each in enumerate(op.operations):
        if number:
            yield "; "
        yield from _pieces(each)


_WRITERS: Mapping[type[Op[Any]], Callable[[Any], _Pieces]] = {
    Aggregate: _aggregate,
    Alter: _alter,
    Batch: _batch,
    Claim: _claim,
    CountDocuments: _count,
    Delete: _delete,
    DeleteWhere: _delete_where,
    Drop: _drop,
    Ensure: _ensure,
    Explain: _explain,
    ExplainFind: _explain_find,
    Find: _find,
    Get: _get,
    Insert: _insert,
    Leading: _leading,
    Patch: _patch,
    PatchWhere: _patch_where,
    Patches: _patches,
    RefreshStatistics: _refresh,
    Rename: _rename,
    Replace: _replace,
}


def counted(count: int, noun: str) -> str:
    """Return a number of things in words: ``1 field``, ``2 fields``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _listed(names: Iterable[str]) -> _Pieces:
    for number, name in enumerate(names):
        yield f", {name}" if number else name


def _where(node: Filter) -> _Pieces:
    if node != And(()):
        yield " where "
        yield from _filter(node, 0)


def _filter(node: Filter, depth: int, *, counts: bool = True) -> _Pieces:
    if isinstance(node, Test):
        if isinstance(node.operand, Lookup):
            yield from _looked_up(node, node.operand, depth, counts=counts)
        else:
            yield _test(node, counts=counts)
    elif depth == _MAX_DEPTH:
        yield _MORE
    elif isinstance(node, Not):
        yield "not "
        yield from _filter(node.item, depth + 1, counts=counts)
    elif not node.items:
        yield "true" if isinstance(node, And) else "false"
    else:
        word = " and " if isinstance(node, And) else " or "
        for number, item in enumerate(node.items):
            yield word if number else "("
            yield from _filter(item, depth + 1, counts=counts)
        yield ")"


def _looked_up(test: Test, lookup: Lookup, depth: int, *, counts: bool) -> _Pieces:
    yield f"{test.field} {test.operator} ({lookup.field} of {lookup.collection.name}"
    if lookup.where != And(()):
        yield " where "
        yield from _filter(lookup.where, depth + 1, counts=counts)
    yield ")"


def _test(test: Test, *, counts: bool) -> str:
    operator = _SYMBOLS.get(test.operator, str(test.operator))
    tested = test.field if test.part is None else f"{test.field}{test.part}"
    if test.folded:
        tested = f"folded({tested})"
    if test.operator in _WITHOUT_OPERAND:
        return f"{tested} {operator}"
    if counts and test.operator in _MANY and isinstance(test.operand, tuple):
        return f"{tested} {operator} {counted(len(test.operand), 'value')}"
    if isinstance(test.operand, OtherField):
        return f"{tested} {operator} {test.operand}"
    return f"{tested} {operator} ?"
