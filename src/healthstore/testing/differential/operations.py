"""Steps that are operations: those that no repository asks for as they are, and those of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from healthstore.entity import collection_of, parse_fields, to_document
from healthstore.model import ops
from healthstore.model.ops import Op
from healthstore.model.query import parse_order
from healthstore.testing.differential import programs
from healthstore.testing.differential.declared import Declared
from healthstore.testing.differential.programs import Row, Step

__all__ = ("operation",)


def operation(declared: Declared, step: Step) -> Op[Any]:
    """Return the operation of a step, or that of several as one."""
    if isinstance(step, programs.Batch):
        return ops.Batch(tuple(cast(Any, operation(declared, each)) for each in step.steps))
    return _OPERATIONS[type(step)](declared, step)


def _documents(declared: Declared, name: str, rows: Sequence[Row]) -> tuple[Any, ...]:
    return tuple(to_document(declared.entity(name, row)) for row in rows)


def _patch_of(declared: Declared, step: programs.Patch) -> Op[Any]:
    kind = declared.classes[step.schema]
    sets = parse_fields(kind, step.sets)
    increments = tuple(step.increments.items())
    return ops.Patch(collection_of(kind), step.ids, tuple(sets.items()), increments, step.versions)


def _patch_where_of(declared: Declared, step: programs.PatchWhere) -> Op[Any]:
    kind = declared.classes[step.schema]
    return ops.PatchWhere(
        collection_of(kind),
        declared.where(step.schema, step.where),
        tuple(parse_fields(kind, step.sets).items()),
        tuple(step.increments.items()),
        step.everything,
    )


def _delete_where_of(declared: Declared, step: programs.DeleteWhere) -> Op[Any]:
    where = declared.where(step.schema, step.where)
    return ops.DeleteWhere(collection_of(declared.classes[step.schema]), where, step.everything)


def _find_of(declared: Declared, step: programs.Find) -> Op[Any]:
    where = declared.where(step.schema, step.where)
    collection = collection_of(declared.classes[step.schema])
    return ops.Find(collection, where, parse_order(step.order), step.limit)


def _count_of(declared: Declared, step: programs.Count) -> Op[Any]:
    where = declared.where(step.schema, step.where)
    return ops.CountDocuments(collection_of(declared.classes[step.schema]), where)


def _replace_of(declared: Declared, step: programs.Replace) -> Op[Any]:
    documents = _documents(declared, step.schema, step.rows)
    return ops.Replace(collection_of(declared.classes[step.schema]), documents, step.versions)


def _insert_of(declared: Declared, step: programs.AddMany) -> Op[Any]:
    documents = _documents(declared, step.schema, step.rows)
    return ops.Insert(collection_of(declared.classes[step.schema]), documents, step.atomic)


def _get_of(declared: Declared, step: programs.Get) -> Op[Any]:
    return ops.Get(collection_of(declared.classes[step.schema]), step.ids)


def _delete_of(declared: Declared, step: programs.Delete) -> Op[Any]:
    return ops.Delete(collection_of(declared.classes[step.schema]), step.ids, step.versions)


_OPERATIONS: Mapping[type, Callable[[Declared, Any], Op[Any]]] = {
    programs.AddMany: _insert_of,
    programs.Get: _get_of,
    programs.Find: _find_of,
    programs.Count: _count_of,
    programs.Replace: _replace_of,
    programs.Patch: _patch_of,
    programs.PatchWhere: _patch_where_of,
    programs.Delete: _delete_of,
    programs.DeleteWhere: _delete_where_of,
}
