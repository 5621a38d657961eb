"""The check of each operation: what it may ask of its collection and of the backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from healthstore.abc.backend import Executor
from healthstore.errors import (
    CapabilityError,
    ConfigurationError,
    HealthstoreError,
    InvalidRequestError,
)
from healthstore.layers.guard.filters import checked_where, require_found
from healthstore.layers.guard.groups import check_aggregate
from healthstore.layers.guard.selections import MAX_DISTINCT, checked_columns, distinct_order
from healthstore.layers.guard.values import (
    checked_documents,
    checked_ids,
    checked_value,
    checked_versions,
)
from healthstore.model.catalog import CATALOG
from healthstore.model.change import names_between, require_at_most
from healthstore.model.filters import checked_operand, checked_order, plain_order
from healthstore.model.ops import (
    Aggregate,
    Alter,
    Batch,
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
    Op,
    Operation,
    Patch,
    Patches,
    PatchWhere,
    RefreshStatistics,
    Rename,
    Replace,
)
from healthstore.model.query import ALL, And, Filter, Order, after, lookups
from healthstore.model.refusals import invalid, missing_value
from healthstore.model.requests import REQUESTS
from healthstore.model.schema import Collection, Field, require_distinct
from healthstore.model.size import require_small
from healthstore.model.values import Value

__all__ = ("MAX_CLAIMED", "MAX_LIMIT", "check")

MAX_CLAIMED = 1_000
_OWN = {each.name: each for each in (CATALOG, REQUESTS)}

MAX_LIMIT = 10_001  # one more than a page may hold: it tells whether there is another page


def check(op: Op[Any], store: Executor) -> Op[Any]:
    """Return the operation in canonical form.

    Raises a HealthstoreError that names the backend if it asks for what has no meaning, or for
    what not every backend, or not this one, can do.
    """
    checker = _CHECKS.get(type(op))
    if checker is None:
        raise InvalidRequestError(
            f"{type(op).__name__} is no operation",
            hint="see healthstore.model.ops",
            backend=store.name,
        )
    try:
        return checker(op, store)
    except HealthstoreError as error:
        raise error.at(backend=store.name) from None


def _check_batch(op: Batch, store: Executor) -> Batch:
    if not op.operations:
        raise InvalidRequestError("a batch has no operation", hint="leave it out")
    if not store.capabilities.transactions:
        raise _needs_transactions("a batch", None)
    for each in op.operations:
        if isinstance(each, _ALONE):
            raise InvalidRequestError(
                f"{type(each).__name__} cannot be part of a batch",
                hint="execute it by itself, or begin a unit",
            )
    checked = tuple(_CHECKS[type(each)](each, store) for each in op.operations)
    return Batch(cast("tuple[Operation, ...]", checked))


def _check_ensure(op: Ensure, store: Executor) -> Ensure:
    require_distinct(op.collections)
    for each in op.collections:
        _require_own_name(each)
        _require_references(each, store)
    return op


def _require_own_name(wanted: Collection) -> None:
    if wanted.name in _OWN and wanted != _OWN[wanted.name]:
        raise ConfigurationError(
            f"the name {wanted.name!r} is the library's own",
            hint="give the entity's collection another name",
            entity=wanted.entity,
        )


def _require_alters(wanted: Collection, store: Executor) -> None:
    if not store.capabilities.alters:
        raise CapabilityError(
            "this backend cannot change the definition of a collection: it does not have the "
            "capability `alters`",
            hint="move the data to a new database",
            entity=wanted.entity,
        )


def _check_drop(op: Drop, store: Executor) -> Drop:
    _require_alters(op.collection, store)
    if op.collection.name in _OWN:
        raise invalid(op.collection, "the library's own collection is not dropped", "leave it")
    return op


def _check_alter(op: Alter, store: Executor) -> Alter:
    _require_alters(op.after, store)
    if op.before.name != op.after.name:
        raise invalid(op.after, "a collection is altered into one of another name", "keep its name")
    _require_own_name(op.after)
    _require_references(op.after, store)
    require_at_most(op.before, op.after, op.allowed)
    return op


def _check_rename(op: Rename, store: Executor) -> Rename:
    _require_alters(op.after, store)
    if not _OWN.keys().isdisjoint({op.before.name, op.after.name}):
        raise invalid(op.after, "the library's own collection is not renamed", "leave it")
    if names_between(op.before, op.after) is None:
        raise invalid(
            op.after, "more than names differs", "alter it before it is renamed, or after"
        )
    return op


def _check_explain(op: Explain, store: Executor) -> Explain:
    if not isinstance(op.change, _CHANGES):
        raise InvalidRequestError(
            f"{type(op.change).__name__} changes no definition",
            hint="explain an Ensure, an Alter, a Rename or a Drop",
        )
    _CHECKS[type(op.change)](op.change, store)
    return op


_CHANGES = (Ensure, Alter, Rename, Drop)
_ALONE = (*_CHANGES, Explain, ExplainFind, RefreshStatistics, Batch, Aggregate)


def _check_get(op: Get, store: Executor) -> Get:
    if type(op.lock) is not bool:
        raise invalid(op.collection, "lock is neither True nor False", "pass a bool")
    if op.lock and not store.capabilities.locks:
        raise CapabilityError(
            "this backend does not lock documents: it does not have the capability `locks`",
            hint="write under the version that was read (MongoDB: use a replica set)",
            entity=op.collection.entity,
        )
    ids = checked_ids(op.collection, op.ids, distinct=False)
    return op if ids is op.ids else Get(op.collection, ids, op.lock)


def _check_insert(op: Insert, store: Executor) -> Insert:
    documents = checked_documents(op, store)
    _require_atomic(op, "adding several documents atomically", store)
    if op.checked_references:
        _require_references(op.collection, store)
    if documents is op.documents:
        return op
    return Insert(op.collection, documents, op.atomic, op.checked_references, canonical=True)


def _check_replace(op: Replace, store: Executor) -> Replace:
    documents = checked_documents(op, store)
    _require_atomic(op, "replacing several documents atomically", store)
    if not op.atomic and op.versions is None:
        raise invalid(
            op.collection,
            "a replacement that is not atomic expects no versions",
            "give the versions that were read: what was replaced before an error is found by them",
        )
    _require_references(op.collection, store)
    for name in op.same:
        if op.versions is None or op.collection.field(name).name in {"id", "version"}:
            raise invalid(
                op.collection,
                "cannot be what tells a document from another one of its id",
                "expect versions as well, and name a field beside the id and the version",
                name,
            )
    versions = checked_versions(op, len(documents))
    return replace(op, documents=documents, versions=versions, canonical=True)


def _require_atomic(op: Insert | Replace, what: str, store: Executor) -> None:
    if type(op.atomic) is not bool:
        raise invalid(op.collection, "atomic is neither True nor False", "pass a bool")
    if op.atomic and len(op.documents) > 1:
        _require_transactions(what, op.collection, store)


def _check_patch(op: Patch, store: Executor) -> Patch:
    collection = op.collection
    ids = checked_ids(collection, op.ids, distinct=True)
    if len(ids) > 1:
        _require_transactions("changing several documents", collection, store)
    checked = _checked_change(op, store)
    if checked.ids is ids and op.versions is None:
        return checked
    versions = checked_versions(op, len(ids))
    return replace(checked, ids=ids, versions=versions)


def _checked_change(op: Patch, store: Executor) -> Patch:
    """Return a patch that says in canonical form what changes, whatever the documents are."""
    collection = op.collection
    checked = op if op.canonical is True else _canonical_patch(op)
    if collection.references:
        changed = {name for name, _ in checked.changes}
        if any(reference.field in changed for reference in collection.references):
            _require_references(collection, store)
    require_small(collection, (dict(checked.sets),), store.capabilities.max_document_bytes)
    return checked


def _canonical_patch(op: Patch) -> Patch:
    collection = op.collection
    changed: dict[str, Field] = {}
    for name, _ in op.changes:
        field = collection.field(name)
        if name in changed or name == "id":
            raise invalid(
                collection,
                "cannot be changed, or is changed twice",
                "name each field once, and never the id",
                name,
            )
        changed[name] = field
    if not changed:
        raise invalid(collection, "a patch changes no field", "set or increment one")
    sets = tuple([(name, checked_value(collection, name, value)) for name, value in op.sets])
    for name, _ in op.increments:
        if not changed[name].type.numeric:
            raise invalid(
                collection, "is no number and cannot be incremented", "set it instead", name
            )
    increments = tuple(
        [(name, checked_operand(collection, changed[name], step)) for name, step in op.increments]
    )
    at_least, at_most = (
        tuple([(name, _checked_bound(collection, changed[name], value)) for name, value in part])
        for part in (op.at_least, op.at_most)
    )
    return replace(
        op,
        sets=sets,
        increments=increments,
        at_least=at_least,
        at_most=at_most,
        canonical=True,
    )


def _checked_bound(collection: Collection, field: Field, value: Value) -> Value:
    if not field.type.bounded:
        raise invalid(
            collection,
            "cannot be kept at least or at most at a value",
            "set it: only numbers, durations, dates and instants are held against one",
            field.name,
        )
    if value is None:
        raise missing_value(collection, field.name)
    return checked_value(collection, field.name, value)


def _check_patches(op: Patches, store: Executor) -> Patches:
    _require_transactions("changing several documents", op.collection, store)
    checked = tuple(_check_patch(each, store) for each in op.patches)
    forms = {(each.collection, len(each.ids), each.versions is None, each.form) for each in checked}
    if len(forms) != 1 or checked[0].collection != op.collection or len(checked[0].ids) != 1:
        raise invalid(
            op.collection,
            "patches that go together differ in more than their values",
            "change the same fields of one document by each",
        )
    return Patches(op.collection, checked)


def _check_claim(op: Claim, store: Executor) -> Claim:
    collection = op.collection
    if type(op.limit) is not int or not 1 <= op.limit <= MAX_CLAIMED:
        raise invalid(
            collection, f"a claim takes from 1 to {MAX_CLAIMED} documents", "claim again for more"
        )
    order = checked_order(collection, op.order)
    require_found(collection, [each.column for each in order], store)
    where = checked_where(collection, op.where, store)
    if next(lookups(where), None) is not None:
        raise invalid(
            collection,
            "a claim looks nothing up in another query",
            "read the values, and list them",
        )
    sets = _canonical_patch(Patch(collection, (), op.sets)).sets
    return replace(op, sets=sets, where=where, order=order)


def _check_delete(op: Delete, store: Executor) -> Delete:
    ids = checked_ids(op.collection, op.ids, distinct=True)
    if len(ids) > 1:
        _require_transactions("deleting several documents", op.collection, store)
    if ids is op.ids and op.versions is None:
        return op
    return replace(op, ids=ids, versions=checked_versions(op, len(ids)))


def _check_patch_where(op: PatchWhere, store: Executor) -> PatchWhere:
    collection = op.collection
    where = _chosen(op, "changing several documents", store)
    checked = _checked_change(op.as_patch(), store)
    keys = {name for unique in collection.uniques for name in unique.fields}
    for name, _ in checked.increments:
        if name in keys:
            raise invalid(
                collection,
                "is of a unique key and cannot be incremented in several documents: one changes "
                "first, and its key may be another one's still",
                "read the documents and update each, in an order in which no two have one key",
                name,
            )
    return replace(
        op,
        where=where,
        sets=checked.sets,
        increments=checked.increments,
        at_least=checked.at_least,
        at_most=checked.at_most,
        canonical=True,
    )


def _check_delete_where(op: DeleteWhere, store: Executor) -> DeleteWhere:
    return replace(op, where=_chosen(op, "deleting several documents", store))


def _chosen(op: PatchWhere | DeleteWhere, what: str, store: Executor) -> Filter:
    """Return the filter of a write; refuse one that holds for everything, unless it may."""
    for name in ("everything", "atomic"):
        if type(getattr(op, name)) is not bool:
            raise invalid(op.collection, f"{name} is neither True nor False", "pass a bool")
    where = checked_where(op.collection, op.where, store)
    if where == ALL and not op.everything:
        raise invalid(
            op.collection,
            "the filter of a write holds for every document",
            "give a condition, or everything=True if all are meant",
        )
    if op.atomic:
        _require_transactions(what, op.collection, store)
    return where


def _check_find(op: Find, store: Executor) -> Find:
    collection = op.collection
    columns = checked_columns(op)
    most = MAX_DISTINCT if op.distinct else MAX_LIMIT
    if type(op.limit) is not int or not 1 <= op.limit <= most:
        raise invalid(
            collection,
            f"the limit must be from 1 to {most - 1}",
            "read on with the next page, or use stream()",
        )
    order = (
        distinct_order(op, columns or ()) if op.distinct else checked_order(collection, op.order)
    )
    require_found(collection, (*(columns or ()), *(each.column for each in order)), store)
    where = op.where
    if op.after is not None:
        if len(op.after) != len(order):
            raise invalid(
                collection,
                "the position does not belong to this order",
                "use the page's own `next`, with the same order",
            )
        where = And((where, after(order, op.after)))
    where = checked_where(collection, where, store)
    return replace(op, where=where, order=order, after=None, columns=columns)


def _check_explain_find(op: ExplainFind, store: Executor) -> ExplainFind:
    if not isinstance(cast(object, op.find), Find):
        raise InvalidRequestError(
            f"{type(op.find).__name__} is no query", hint="explain a Find: how it is answered"
        )
    if op.find.columns is not None or op.find.distinct:
        raise invalid(
            op.collection,
            "a selection of columns is not explained",
            "explain the query without them: the same rows are looked for",
        )
    return ExplainFind(_check_find(op.find, store))


def _check_refresh(op: RefreshStatistics, _: Executor) -> RefreshStatistics:
    return op


def _check_leading(op: Leading, store: Executor) -> Leading:
    collection = op.collection
    for asked in (op.first, op.limit):
        if type(asked) is not int or not 1 <= asked <= MAX_LIMIT:
            raise invalid(
                collection,
                f"the first of each group, and the limit, must be from 1 to {MAX_LIMIT - 1}",
                "ask for some, or leave the limit away",
            )
    if not op.per:
        raise invalid(
            collection,
            "the first of no group are asked for",
            "name a field of the groups, or find with an order and a limit",
        )
    per = tuple(each.column for each in plain_order(collection, map(Order.by, op.per)))
    where, order = checked_where(collection, op.where, store), checked_order(collection, op.order)
    require_found(collection, (*per, *(each.column for each in order)), store)
    return replace(op, where=where, order=order, per=per)


def _check_count(op: CountDocuments, store: Executor) -> CountDocuments:
    return CountDocuments(op.collection, checked_where(op.collection, op.where, store))


_CHECKS: dict[type, Callable[[Any, Executor], Op[Any]]] = {
    Aggregate: check_aggregate,
    Alter: _check_alter,
    Batch: _check_batch,
    CountDocuments: _check_count,
    Delete: _check_delete,
    DeleteWhere: _check_delete_where,
    Drop: _check_drop,
    Ensure: _check_ensure,
    Explain: _check_explain,
    ExplainFind: _check_explain_find,
    Find: _check_find,
    Claim: _check_claim,
    Get: _check_get,
    Insert: _check_insert,
    Leading: _check_leading,
    Patch: _check_patch,
    PatchWhere: _check_patch_where,
    Patches: _check_patches,
    RefreshStatistics: _check_refresh,
    Rename: _check_rename,
    Replace: _check_replace,
}


def _require_transactions(what: str, collection: Collection, store: Executor) -> None:
    if not store.capabilities.transactions:
        raise _needs_transactions(what, collection)


def _needs_transactions(what: str, collection: Collection | None) -> CapabilityError:
    return CapabilityError(
        f"{what} needs transactions, which this backend does not have",
        hint="write one document at a time, add with atomic=False, or change with a batch; "
        "MongoDB has transactions on a replica set (one node is enough)",
        entity=collection.entity if collection else None,
    )


def _require_references(collection: Collection, store: Executor) -> None:
    if collection.references and not store.capabilities.references:
        raise CapabilityError(
            "this backend cannot enforce references: it does not have the capability `references`",
            hint="use a backend that can (MongoDB: a replica set), or an entity without Ref",
            entity=collection.entity,
            field=collection.references[0].field,
        )
