"""The guard: every operation is checked and made canonical before any I/O.

What passes the guard means the same on every backend, and can be kept exactly by each of them.
It is always the outermost layer of a member, so adapters never meet an unknown field, a value
of the wrong type, a negation, or a page position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar, cast
from uuid import UUID

import msgspec

from healthstore.abc.backend import Capabilities, Isolation, Unit, UnitOptions
from healthstore.abc.layer import Layer
from healthstore.errors import (
    CapabilityError,
    HealthstoreError,
    InvalidRequestError,
    NotNullError,
    RefusedValueError,
)
from healthstore.model.evaluate import finish_aggregate, plan_aggregate
from healthstore.model.ops import (
    Aggregate,
    Batch,
    CountDocuments,
    Delete,
    Ensure,
    Find,
    Function,
    Get,
    Insert,
    Measure,
    Op,
    Operation,
    Patch,
    Replace,
)
from healthstore.model.query import (
    ORDERED,
    PLURAL,
    TEXTUAL,
    And,
    Filter,
    Not,
    Operator,
    Or,
    Order,
    Test,
    after,
    normalise,
    require_moderate,
)
from healthstore.model.schema import Collection, Field
from healthstore.model.values import Document, Kind, Value, canonicaliser

__all__ = ("MAX_LIMIT", "GuardLayer")

R = TypeVar("R")

MAX_LIMIT = 10_001  # one more than a page may hold: it tells whether there is another page
MAX_IDS = 10_000
# A document whose texts have fewer code points than this is small, whatever they are.
_SURELY_SMALL = 100_000
_NULL_TESTS = frozenset({Operator.IS_NULL, Operator.NOT_NULL})


class GuardLayer(Layer):
    """Checks every operation against its collection and against the backend's capabilities."""

    rank: ClassVar[int] = 30

    async def execute(self, op: Op[R]) -> R:
        """Check the operation, run it below, and finish what adapters leave to the core."""
        checked = _check(op, self.capabilities, self.name)
        if isinstance(op, Aggregate) and isinstance(checked, Aggregate):
            rows = await self.inner.execute(plan_aggregate(checked))
            try:
                return cast(R, finish_aggregate(checked, rows))
            except HealthstoreError as error:
                raise error.at(backend=self.name) from None
        return await self.inner.execute(cast("Op[R]", checked))

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit; refuse a deadline that is not positive."""
        if not options.deadline > 0:
            raise InvalidRequestError(
                "a unit's deadline must be positive",
                hint="give seconds, for example 30.0",
                backend=self.name,
            )
        if options.isolation not in set(Isolation):
            raise InvalidRequestError(
                f"isolation is none of {', '.join(Isolation)}",
                hint="use a member of Isolation",
                backend=self.name,
            )
        return await super().begin(options)


def _check(op: Op[Any], capabilities: Capabilities, backend: str) -> Op[Any]:
    check = _CHECKS.get(type(op))
    if check is None:
        raise InvalidRequestError(
            f"{type(op).__name__} is no operation",
            hint="see healthstore.model.ops",
            backend=backend,
        )
    try:
        return check(op, capabilities)
    except HealthstoreError as error:
        raise error.at(backend=backend) from None


def _check_batch(op: Batch, capabilities: Capabilities) -> Batch:
    if not op.operations:
        raise InvalidRequestError("a batch has no operation", hint="leave it out")
    if not capabilities.transactions:
        raise _needs_transactions("a batch", None)
    for each in op.operations:
        if isinstance(each, Ensure | Batch | Aggregate):
            raise InvalidRequestError(
                f"{type(each).__name__} cannot be part of a batch",
                hint="execute it by itself, or begin a unit",
            )
    checked = tuple(_CHECKS[type(each)](each, capabilities) for each in op.operations)
    return Batch(cast("tuple[Operation, ...]", checked))


def _check_ensure(op: Ensure, _: Capabilities) -> Ensure:
    names = [collection.name for collection in op.collections]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequestError(
                f"the collection {name!r} is named twice", hint="name it once"
            )
    return op


def _check_get(op: Get, _: Capabilities) -> Get:
    return replace(op, ids=_ids(op.collection, op.ids, distinct=False))


def _check_insert(op: Insert, capabilities: Capabilities) -> Insert:
    documents = _documents(op.collection, op.documents, capabilities)
    if op.atomic and len(documents) > 1:
        _require_transactions("adding several documents atomically", op.collection, capabilities)
    if op.checked_references:
        _require_references(op.collection, capabilities)
    return Insert(op.collection, documents, op.atomic, op.checked_references)


def _check_replace(op: Replace, capabilities: Capabilities) -> Replace:
    documents = _documents(op.collection, op.documents, capabilities)
    if len(documents) > 1:
        _require_transactions("replacing several documents", op.collection, capabilities)
    _require_references(op.collection, capabilities)
    return Replace(op.collection, documents, _versions(op, len(documents)))


def _check_patch(op: Patch, capabilities: Capabilities) -> Patch:
    collection = op.collection
    ids = _ids(collection, op.ids, distinct=True)
    if len(ids) > 1:
        _require_transactions("changing several documents", collection, capabilities)
    changed = [name for name, _ in (*op.sets, *op.increments)]
    for name in changed:
        if collection.field(name).name == "id" or changed.count(name) > 1:
            raise _invalid(
                collection,
                "cannot be changed, or is changed twice",
                "name each field once, and never the id",
                name,
            )
    if not changed:
        raise _invalid(collection, "a patch changes no field", "set or increment one")
    if any(reference.field in changed for reference in collection.references):
        _require_references(collection, capabilities)
    sets = tuple((name, _value(collection, name, value)) for name, value in op.sets)
    for name, _ in op.increments:
        if not collection.field(name).type.numeric:
            raise _invalid(
                collection, "is no number and cannot be incremented", "set it instead", name
            )
    increments = tuple(
        (name, _operand(collection, collection.field(name), step)) for name, step in op.increments
    )
    _require_small(collection, dict(sets), capabilities)
    return Patch(collection, ids, sets, increments, _versions(op, len(ids)))


def _check_delete(op: Delete, capabilities: Capabilities) -> Delete:
    ids = _ids(op.collection, op.ids, distinct=True)
    if len(ids) > 1:
        _require_transactions("deleting several documents", op.collection, capabilities)
    return Delete(op.collection, ids, _versions(op, len(ids)))


def _check_find(op: Find, _: Capabilities) -> Find:
    collection = op.collection
    if type(op.limit) is not int or not 1 <= op.limit <= MAX_LIMIT:
        raise _invalid(
            collection,
            f"the limit must be from 1 to {MAX_LIMIT - 1}",
            "read on with the next page, or use stream()",
        )
    order = _order(collection, op.order)
    where = op.where
    if op.after is not None:
        if len(op.after) != len(order):
            raise _invalid(
                collection,
                "the position does not belong to this order",
                "use the page's own `next`, with the same order",
            )
        where = And((where, after(order, op.after)))
    return Find(collection, _where(collection, where), order, op.limit)


def _check_count(op: CountDocuments, _: Capabilities) -> CountDocuments:
    return CountDocuments(op.collection, _where(op.collection, op.where))


def _check_aggregate(op: Aggregate, _: Capabilities) -> Aggregate:
    collection = op.collection
    if not op.measures:
        raise _invalid(collection, "an aggregate computes nothing", "name a measure: n=Count()")
    for name in op.group:
        if not collection.field(name).type.ordered or op.group.count(name) > 1:
            raise _invalid(
                collection,
                "cannot be grouped by, or is named twice",
                "group by each field once, and by no JSON or bytes",
                name,
            )
    for measure in op.measures:
        _check_measure(collection, measure)
    return replace(op, where=_where(collection, op.where))


def _check_measure(collection: Collection, measure: Measure) -> None:
    name, function = measure.field, measure.function
    if name is None:
        if function is not Function.COUNT:
            raise _invalid(collection, f"{function} needs a field", "name the field to measure")
        return
    kind = collection.field(name).type
    meaningless = (function in _SUMMING and not kind.numeric) or (
        function in _RANKING and kind.kind in _UNRANKED
    )
    if meaningless:
        raise _invalid(
            collection, f"{function} has no meaning for {kind.kind}", "measure another field", name
        )


_SUMMING = frozenset({Function.SUM, Function.AVG})
_RANKING = frozenset({Function.MIN, Function.MAX})
# MySQL, PostgreSQL and MongoDB do not agree on the minimum of these.
_UNRANKED = frozenset({Kind.JSON, Kind.BYTES, Kind.BOOLEAN, Kind.UUID})

_CHECKS: dict[type, Callable[[Any, Capabilities], Op[Any]]] = {
    Aggregate: _check_aggregate,
    Batch: _check_batch,
    CountDocuments: _check_count,
    Delete: _check_delete,
    Ensure: _check_ensure,
    Find: _check_find,
    Get: _check_get,
    Insert: _check_insert,
    Patch: _check_patch,
    Replace: _check_replace,
}


def _documents(
    collection: Collection, documents: Sequence[Document], capabilities: Capabilities
) -> tuple[Document, ...]:
    checked = tuple(_document(collection, document, capabilities) for document in documents)
    _require_distinct(collection, [document["id"] for document in checked])
    return checked


def _document(collection: Collection, document: Document, capabilities: Capabilities) -> Document:
    checked: Document = {}
    name = ""
    try:
        for name, canonical, nullable in collection.canonicalisers:
            value = document[name]
            if value is not None:
                checked[name] = canonical(value)
            elif nullable:
                checked[name] = None
            else:
                raise _missing_value(collection, name)
    except KeyError:
        raise _invalid(
            collection, "is missing", "a document has every field; use None", name
        ) from None
    except (TypeError, ValueError) as error:
        raise _refused(collection, name, error) from None
    if len(document) != len(checked):
        for given in document:
            collection.field(given)  # raises for the one that is not known
    _require_small(collection, checked, capabilities)
    return checked


def _require_small(collection: Collection, document: Document, capabilities: Capabilities) -> None:
    """Refuse a document that MongoDB could not keep; measured exactly only if it may be large."""
    length = 0
    for value in document.values():
        if isinstance(value, str | bytes):
            length += len(value)
        elif isinstance(value, dict | list):
            length += _json_size(value)
    if 4 * length <= _SURELY_SMALL:
        return
    size = sum(
        len(value.encode()) if isinstance(value, str) else len(value)
        for value in document.values()
        if isinstance(value, str | bytes)
    )
    size += sum(_json_size(value) for value in document.values() if isinstance(value, dict | list))
    if size > capabilities.max_document_bytes:
        raise RefusedValueError(
            f"a document takes about {size} bytes; at most {capabilities.max_document_bytes} are kept",
            hint="store large content elsewhere, and its address here",
            entity=collection.entity,
        )


def _json_size(value: Value) -> int:
    return len(msgspec.json.encode(value))


def _value(collection: Collection, name: str, value: object) -> Value:
    field = collection.field(name)
    if value is None:
        if not field.nullable:
            raise _missing_value(collection, name)
        return None
    try:
        return canonicaliser(field.type)(value)
    except (TypeError, ValueError) as error:
        raise _refused(collection, name, error) from None


def _invalid(
    collection: Collection, message: str, hint: str, field: str | None = None
) -> InvalidRequestError:
    return InvalidRequestError(message, hint=hint, entity=collection.entity, field=field)


def _refused(collection: Collection, name: str, error: Exception) -> RefusedValueError:
    return RefusedValueError(
        str(error),
        hint="give a value that every backend can keep exactly",
        entity=collection.entity,
        field=name,
    )


def _missing_value(collection: Collection, name: str) -> NotNullError:
    return NotNullError(
        "must have a value",
        hint="set it, or let the entity's field be None",
        entity=collection.entity,
        field=name,
    )


def _ids(collection: Collection, ids: Sequence[UUID], *, distinct: bool) -> tuple[UUID, ...]:
    if len(ids) > MAX_IDS:
        raise _invalid(collection, f"more than {MAX_IDS} ids in one request", "split the list")
    given: Sequence[object] = ids
    if None in given:
        raise _refused(collection, "id", TypeError("expects UUID, not None"))
    checked = tuple(cast(UUID, _value(collection, "id", identity)) for identity in ids)
    if distinct:
        _require_distinct(collection, checked)
    return checked


def _require_distinct(collection: Collection, ids: Sequence[Value]) -> None:
    if len(set(ids)) == len(ids):
        return
    first: dict[Value, int] = {}
    for position, identity in enumerate(ids):
        earlier = first.setdefault(identity, position)
        if earlier != position:
            raise _invalid(
                collection,
                f"the documents at {earlier} and {position} have the same id",
                "send each document once",
                "id",
            )


def _versions(op: Replace | Patch | Delete, count: int) -> tuple[int, ...] | None:
    if op.versions is None:
        return None
    if len(op.versions) != count:
        raise _invalid(
            op.collection, "some expected versions are missing", "give one for each document"
        )
    return tuple(cast(int, _value(op.collection, "version", each)) for each in op.versions)


def _order(collection: Collection, order: Iterable[Order]) -> tuple[Order, ...]:
    checked = tuple(order)
    names = [key.field for key in checked]
    for name in names:
        if not collection.field(name).type.ordered or names.count(name) > 1:
            raise _invalid(
                collection,
                "has no order, or is named twice",
                "sort by each field once, and by no JSON or bytes",
                name,
            )
    return checked if "id" in names else (*checked, Order("id"))


def _where(collection: Collection, where: Filter) -> Filter:
    require_moderate(where)
    return normalise(_canonical_filter(collection, where), collection.nullable)


def _canonical_filter(collection: Collection, node: Filter) -> Filter:
    if isinstance(node, Test):
        return _canonical_test(collection, node)
    if isinstance(node, Not):
        return Not(_canonical_filter(collection, node.item))
    if isinstance(node, And | Or):
        return type(node)(tuple(_canonical_filter(collection, item) for item in node.items))
    raise _invalid(
        collection,
        f"a filter is a {type(node).__name__}",
        "write F.name == value, and put comparisons in parentheses around & and |",
    )


def _canonical_test(collection: Collection, test: Test) -> Test:
    field, operator, operand = collection.field(test.field), test.operator, test.operand
    if operator in _NULL_TESTS:
        return Test(field.name, operator)
    _require_meaning(collection, field, operator, operand)
    if operator in PLURAL:
        if not isinstance(operand, tuple):
            raise _refused(collection, field.name, TypeError("needs a list of values"))
        values = tuple(
            None if value is None else _operand(collection, field, value) for value in operand
        )
        return Test(field.name, operator, values)
    if operand is None:
        return Test(field.name, operator)
    return Test(field.name, operator, _operand(collection, field, operand))


def _require_meaning(
    collection: Collection, field: Field, operator: Operator, operand: object
) -> None:
    """Refuse a test that has no meaning for the field's kind, or not the same on every backend."""
    kind = field.type.kind
    if kind is Kind.JSON and operand is not None:
        raise _invalid(
            collection,
            "is JSON: it can only be compared with None",
            "give what you search for a field of its own",
            field.name,
        )
    if operator in ORDERED and not field.type.ordered:
        raise _invalid(collection, f"has no order: {operator} has no meaning", "use ==", field.name)
    if operator in TEXTUAL:
        if kind is not Kind.TEXT:
            raise _invalid(
                collection, f"is no text: {operator} has no meaning", "use ==", field.name
            )
        if not isinstance(operand, str):
            raise _refused(collection, field.name, TypeError("is compared with text by a str only"))


def _operand(collection: Collection, field: Field, value: object) -> Value:
    """Return a value to compare with, or to add, canonical."""
    try:
        return collection.operands[field.name](value)
    except (TypeError, ValueError) as error:
        raise _refused(collection, field.name, error) from None


def _require_transactions(what: str, collection: Collection, capabilities: Capabilities) -> None:
    if not capabilities.transactions:
        raise _needs_transactions(what, collection)


def _needs_transactions(what: str, collection: Collection | None) -> CapabilityError:
    return CapabilityError(
        f"{what} needs transactions, which this backend does not have",
        hint="write one document at a time, or add with atomic=False; "
        "MongoDB has transactions on a replica set (one node is enough)",
        entity=collection.entity if collection else None,
    )


def _require_references(collection: Collection, capabilities: Capabilities) -> None:
    if collection.references and not capabilities.references:
        raise CapabilityError(
            "this backend cannot enforce references",
            hint="use a backend that can (MongoDB: a replica set), or an entity without Ref",
            entity=collection.entity,
            field=collection.references[0].field,
        )
