"""What a store answers to a step, in a form that is the same on every store that is right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import UUID

from pydantic import ValidationError

from healthstore.abc.backend import Executor, Isolation, UnitOptions
from healthstore.entity import Entity, collection_of, stored_filter, to_document
from healthstore.errors import (
    BackendError,
    DuplicateKeyError,
    HealthstoreError,
    OutcomeUnknownError,
)
from healthstore.model import ops
from healthstore.model.evaluate import term_value
from healthstore.model.query import (
    And,
    FieldOrTerm,
    FieldTerm,
    Filter,
    Lookup,
    Operator,
    Order,
    Test,
    lookups,
    substituted,
)
from healthstore.model.serve import serves
from healthstore.model.values import FieldType, Value
from healthstore.repository import Repository
from healthstore.repository.upserts_of_many import Existing
from healthstore.testing.differential import programs
from healthstore.testing.differential.declared import Declared, declare_all
from healthstore.testing.differential.operations import operation
from healthstore.testing.differential.programs import Step
from healthstore.testing.differential.scans import ranked
from healthstore.testing.differential.schemas import altered, declare
from healthstore.testing.differential.stores import Store
from healthstore.testing.differential.terms import field_term

__all__ = ("Answer", "answer", "contents", "plain")

_NOBODY = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A result, or the class and the place of an error.

    ``error`` is the name of its class, ``key`` names the fields of a key that is taken,
    ``parts`` are the answers of a unit's steps. A ``defect`` is wrong whatever the other store answers:
    an error that only a bug raises, or a result that contradicts itself.
    """

    content: Any
    error: str = ""
    defect: str = ""
    message: str = field(default="", compare=False)
    key: tuple[str, ...] = ()
    parts: tuple[Answer, ...] = ()

    @property
    def reason(self) -> tuple[str, tuple[str, ...]]:
        """The class of an error, and the fields of the key that is taken."""
        return (self.error, self.key)


@dataclass(frozen=True, slots=True)
class _ErrorPlace:
    """A part of an error's place: equal to any other as long as one of them is not known."""

    value: str | None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ErrorPlace):
            return NotImplemented
        return self.value == other.value or None in {self.value, other.value}

    __hash__ = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]  # what is not known is equal to all


def plain(value: object) -> object:
    """Return a form that is equal only for values of the same type that print the same."""
    if isinstance(value, Entity):
        return {type(value).__name__: plain(value.__dict__)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Sequence[object]", value)]
    return f"{type(value).__name__} {value!r}"


async def answer(store: Store, declared: Declared, step: Step) -> Answer:
    """Run a step on a store and return what it answers; nothing is raised."""
    return await _answered(_RUNNERS[type(step)](_Seat(store, declared, store.guarded), step))


async def contents(store: Store, declared: Declared) -> Answer:
    """Return every document of the program's entities, by id."""

    async def read() -> object:
        found: dict[str, object] = {}
        for name, kind in declared.classes.items():
            collection = collection_of(kind)
            position: tuple[Value, ...] | None = None
            rows: list[object] = []
            while page := await store.guarded.execute(
                ops.Find(collection, limit=1_000, after=position)
            ):
                rows.extend(page)
                position = (page[-1]["id"],)
            found[name] = rows
        return found

    return await _answered(read())


async def _answered(asked: Awaitable[object]) -> Answer:
    try:
        result = await asked
        if isinstance(result, _Parts):
            return result.answer()
        return Answer(plain(result))
    except _BrokenLawError as law:
        return Answer(plain(law.result), defect=str(law))
    except ValidationError as refused:
        return Answer({"refused by": "pydantic"}, type(refused).__name__)
    except HealthstoreError as error:
        return _of_error(error)
    except Exception as error:  # noqa: BLE001 - whatever else is raised is a finding
        return Answer(
            None, type(error).__name__, "an error that is none of the library's", repr(error)
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the steps of a unit answered, until one of them failed."""

    answers: tuple[Answer, ...]

    def answer(self) -> Answer:
        defect = next((each.defect for each in self.answers if each.defect), "")
        message = next((each.message for each in self.answers if each.message), "")
        content = [
            {"error": each.error, "content": each.content, "key": list(each.key)}
            for each in self.answers
        ]
        return Answer(content, "", defect, message, (), self.answers)


def _of_error(error: HealthstoreError) -> Answer:
    content: dict[str, object] = {
        "outcome": str(error.outcome),
        "entity": _ErrorPlace(error.entity),
        "field": _ErrorPlace(error.field),
        "transient": error.transient,
    }
    key = error.fields if isinstance(error, DuplicateKeyError) else ()
    defect = ""
    if isinstance(error, BackendError | OutcomeUnknownError):
        defect = "an error that only a failure explains"
    return Answer(content, type(error).__name__, defect, str(error), key)


class _BrokenLawError(Exception):
    """A result that contradicts what the store says next."""

    def __init__(self, law: str, result: object) -> None:
        super().__init__(law)
        self.result = result


@dataclass(frozen=True, slots=True)
class _Seat:
    """Where a step runs: on a store, or inside a unit on it."""

    store: Store
    declared: Declared
    executor: Executor

    def repository(self, name: str) -> Repository[Entity]:
        kind = self.declared.classes[name]
        if self.executor is self.store.guarded:
            return Repository(kind, self.executor, clock=self.store.clock)
        return Repository(kind, self.executor, attempts=1, clock=self.store.clock)

    async def found(self, name: str, entity: Entity) -> Entity:
        """Return an entity that was written, if it is found by each of its values."""
        collection = collection_of(type(entity))
        document = to_document(entity)
        where = And(
            tuple(
                Test(each.name, Operator.EQ, document[each.name])
                for each in collection.fields
                if each.type.ordered
            )
        )
        if await self.repository(name).count(where) != 1:
            raise _BrokenLawError("what was returned is not found by its own values", entity)
        if await self.repository(name).get(entity.id) != entity:
            raise _BrokenLawError("what was returned is not what is read", entity)
        return entity


# --- one runner for each kind of step ----------------------------------------------------------


async def _add(seat: _Seat, step: programs.Add) -> object:
    return await seat.repository(step.schema).add(seat.declared.entity(step.schema, step.row))


async def _add_many(seat: _Seat, step: programs.AddMany) -> object:
    entities = [seat.declared.entity(step.schema, row) for row in step.rows]
    repository = seat.repository(step.schema)
    if step.atomic:
        return await repository.add_many(entities)
    added = await repository.add_many(entities, mode="best_effort")
    # Of several rules that a row breaks, which one is told is the database's choice.
    return {"stored": added.stored, "refused": [each.position for each in added.errors]}


async def _get(seat: _Seat, step: programs.Get) -> object:
    return await seat.repository(step.schema).get_many(step.ids)


async def _find(seat: _Seat, step: programs.Find) -> object:
    repository = seat.repository(step.schema)
    where = seat.declared.where(step.schema, step.where)
    page = await repository.find(where, order=step.order, limit=step.limit)
    pages: list[object] = [[page.items, page.next is not None]]  # a position names its member
    forth: list[Entity] = [*page]
    while page.next is not None and len(pages) < step.pages:
        page = await repository.find(where, order=step.order, limit=step.limit, after=page.next)
        pages.append([page.items, page.next is not None])
        forth.extend(page)
    back, before = [*page], page.previous
    for _ in pages[1:]:
        page = await repository.find(where, order=step.order, limit=step.limit, after=before)
        back, before = [*page, *back], page.previous
    if before is not None or [each.id for each in back] != [each.id for each in forth]:
        raise _BrokenLawError("the pages back are not those that led there", pages)
    return pages


async def _search(seat: _Seat, step: programs.Search) -> object:
    repository = seat.repository(step.schema)
    where = seat.declared.where(step.schema, step.where)
    pages: list[object] = []
    hits: list[UUID] = []
    after: str | None = None
    while len(pages) < step.pages and (after is not None or not pages):
        page = await repository.search(
            step.text, where, order=step.order, limit=step.limit, after=after
        )
        after = page.next
        pages.append([page.items, after is not None])
        hits.extend(each.id for each in page)
    found = [each async for each in repository.stream(where, order=step.order)]
    scanned = [each.id for each in ranked(found, step.text, repository.collection.searched)]
    if hits != scanned[: len(hits)] or (after is None) != (len(hits) == len(scanned)):
        raise _BrokenLawError("the hits of a search are not those of a scan", pages)
    return pages


async def _select(seat: _Seat, step: programs.Select) -> object:
    repository = seat.repository(step.schema)
    where = seat.declared.where(step.schema, step.where)
    columns = [_written(each) for each in step.columns]
    rows = await repository.select(
        *columns, where=where, order=step.order, limit=step.limit, distinct=step.distinct
    )
    if not step.distinct:
        page = await repository.find(where, order=step.order, limit=step.limit)
        found = [{str(name): _value(each, name) for name in step.columns} for each in page]
        if plain(rows) != plain(found):
            raise _BrokenLawError("what is selected is not what is found", [rows, found])
    return rows


def _written(column: FieldOrTerm) -> str | FieldTerm:
    return column if isinstance(column, str) else field_term(column)


def _value(entity: Entity, column: FieldOrTerm) -> object:
    """Return an entity's value of a column, as a loop over entities would find it."""
    if isinstance(column, str):
        return cast(object, getattr(entity, column))
    return term_value(to_document(entity), column)


async def _latest(seat: _Seat, step: programs.Latest) -> object:
    repository = seat.repository(step.schema)
    where = seat.declared.where(step.schema, step.where)
    latest = await repository.latest(
        where, per=[_written(each) for each in step.per], by=_written(step.by), n=step.n
    )
    order = [Order.by(step.by, descending=True), Order("id", descending=True)]
    groups: dict[tuple[object, ...], list[Entity]] = {}
    async for each in repository.stream(where, order=order if step.by != "id" else order[:1]):
        groups.setdefault(tuple(_value(each, name) for name in step.per), []).append(each)
    looped = {each.id for members in groups.values() for each in members[: step.n]}
    if {each.id for each in latest} != looped or len(latest) != len(looped):
        raise _BrokenLawError("the latest are not those that a loop finds", latest)
    return latest


async def _count(seat: _Seat, step: programs.Count) -> object:
    repository = seat.repository(step.schema)
    where = seat.declared.where(step.schema, step.where)
    holds, fails, everything = (
        await repository.count(where),
        await repository.count(~where),
        await repository.count(),
    )
    result = [holds, fails, await repository.exists(where)]
    if holds + fails != everything:
        raise _BrokenLawError("a filter and its negation do not share out all documents", result)
    if next(lookups(where), None) is not None and await _count_in_a_loop(seat, step) != holds:
        raise _BrokenLawError("a lookup is not a list of what its query finds", result)
    return result


async def _count_in_a_loop(seat: _Seat, step: programs.Count) -> int:
    """Return how many satisfy the filter with lists in it, which are read before."""
    kind = seat.declared.classes[step.schema]
    where = stored_filter(kind, seat.declared.where(step.schema, step.where))
    values: dict[int, tuple[Any, ...]] = {}  # an operand as it is written may have no hash
    for each in lookups(where):
        read = ops.Find(each.collection, each.where, limit=10_000)
        values[id(each)] = tuple(row[each.field] for row in await seat.executor.execute(read))

    def listed(test: Test, lookup: Lookup) -> Filter:
        return Test(test.field, test.operator, values[id(lookup)])

    asked = ops.CountDocuments(collection_of(kind), substituted(where, listed))
    return await seat.executor.execute(asked)


async def _aggregate(seat: _Seat, step: programs.Aggregate) -> object:
    where = seat.declared.where(step.schema, step.where)
    known = {str(each): field_term(each) for each in step.terms}
    group = [known.get(each, each) if isinstance(each, str) else each for each in step.group]
    measures = {
        f"m{at}": replace(
            each, given=tuple(known[name] for name in (each.field, each.by) if name in known)
        )
        for at, each in enumerate(step.measures)
    }
    repository = seat.repository(step.schema)
    if step.unwind:  # no annotation says of which type its elements are
        asked = ops.Aggregate(
            *(repository.collection, step.measures, where, step.group),
            names=tuple(measures),
            having=step.having,
            order=step.order,
            take=step.limit,
            unwind=ops.Unwind(step.unwind, FieldType(step.element)),
            terms=step.terms,
        )
        return [(*each.key, *each.values) for each in await seat.executor.execute(asked)]
    rows = await repository.aggregate(
        where,
        group=group,
        having=step.having,
        order=step.order,
        limit=step.limit,
        **cast(Any, measures),
    )
    if not step.order and step.limit is None:
        pages = repository.aggregate_stream(
            where, group=group, having=step.having, page_size=2, **cast(Any, measures)
        )
        found = [row async for row in pages]
        if found != rows:
            raise _BrokenLawError("a stream of groups is not the list of them", [rows, found])
    return rows


async def _update(seat: _Seat, step: programs.Update) -> object:
    changed = await seat.repository(step.schema).update(step.id, step.changes, version=step.version)
    return await seat.found(step.schema, changed)


async def _increment(seat: _Seat, step: programs.Increment) -> object:
    changed = await seat.repository(step.schema).increment(
        step.id, step.field, step.by, version=step.version
    )
    return await seat.found(step.schema, changed)


async def _upsert(seat: _Seat, step: programs.Upsert) -> object:
    entity = seat.declared.entity(step.schema, step.row)
    stored = await seat.repository(step.schema).upsert(entity, on=step.on, add=step.add)
    return await seat.found(step.schema, stored)


async def _upsert_many(seat: _Seat, step: programs.UpsertMany) -> object:
    entities = [seat.declared.entity(step.schema, row) for row in step.rows]
    existing: Existing = "keep" if step.keep else "update"
    repository = seat.repository(step.schema)
    counts = await repository.upsert_many(entities, step.on, existing=existing)
    if not step.keep:
        again = await repository.upsert_many(entities, step.on)
        if again.unchanged != len(entities):
            raise _BrokenLawError("what was upserted is not what is stored", counts)
    return counts


async def _get_or_add(seat: _Seat, step: programs.GetOrAdd) -> object:
    entity = seat.declared.entity(step.schema, step.row)
    stored, created = await seat.repository(step.schema).get_or_add(entity, on=step.on)
    return [await seat.found(step.schema, stored), created]


async def _save(seat: _Seat, step: programs.Save) -> object:
    entity, repository = seat.declared.entity(step.schema, step.row), seat.repository(step.schema)
    stored = await repository.get(entity.id)
    if stored is not None:
        read_as = {"created_at": stored.created_at, "version": step.version or stored.version}
        entity = entity.model_copy(update=read_as)
    return await seat.found(step.schema, await repository.save(entity))


async def _delete(seat: _Seat, step: programs.Delete) -> object:
    if len(step.ids) == 1:
        version = None if step.versions is None else step.versions[0]
        return await seat.repository(step.schema).delete(step.ids[0], version=version)
    return await seat.executor.execute(operation(seat.declared, step))


async def _update_where(seat: _Seat, step: programs.UpdateWhere) -> object:
    return await seat.repository(step.schema).update_where(
        seat.declared.where(step.schema, step.where),
        step.changes,
        batch=step.batch,
        everything=step.everything,
    )


async def _update_many(seat: _Seat, step: programs.UpdateMany) -> object:
    return await seat.repository(step.schema).update_many(dict(step.changes))


async def _delete_where(seat: _Seat, step: programs.DeleteWhere) -> object:
    return await seat.repository(step.schema).delete_where(
        seat.declared.where(step.schema, step.where), batch=step.batch, everything=step.everything
    )


async def _operate(seat: _Seat, step: Step) -> object:
    return await seat.executor.execute(operation(seat.declared, step))


async def _unit(seat: _Seat, step: programs.Unit) -> object:
    isolation = Isolation.SERIALIZABLE if step.serializable else Isolation.SNAPSHOT
    unit = await seat.store.guarded.begin(
        UnitOptions(isolation=isolation, read_only=step.read_only)
    )
    inside = _Seat(seat.store, seat.declared, unit)
    parts: list[Answer] = []
    try:
        for each in step.steps:
            parts.append(await _answered(_RUNNERS[type(each)](inside, each)))
            if parts[-1].error or parts[-1].defect:
                break
        else:
            if step.keep:
                await unit.commit()
    finally:
        await unit.rollback()
    return _Parts(tuple(parts))


async def _initialize(seat: _Seat, step: programs.Initialize) -> object:
    declared = seat.declared
    if step.again:
        declared = declare_all(tuple(declared.schemas.values()))
    collections = tuple(collection_of(each) for each in declared.classes.values())
    return await seat.executor.execute(ops.Ensure(collections))


async def _stale(seat: _Seat, step: programs.Stale) -> object:
    kind = declare(altered(seat.declared.schemas[step.schema], step.change))
    repository = Repository(kind, seat.executor)
    result = await repository.delete(_NOBODY) if step.write else await repository.count()
    stored = collection_of(seat.declared.classes[step.schema])
    if serves(stored, collection_of(kind)):
        return result
    raise _BrokenLawError("a class that the store was not made for was served", result)


async def _reopen(seat: _Seat, _: programs.Reopen) -> object:
    await seat.store.backend.close()
    await seat.store.backend.open()
    return None


_RUNNERS: Mapping[type, Callable[[_Seat, Any], Awaitable[object]]] = {
    programs.Add: _add,
    programs.AddMany: _add_many,
    programs.Get: _get,
    programs.Find: _find,
    programs.Search: _search,
    programs.Select: _select,
    programs.Latest: _latest,
    programs.Count: _count,
    programs.Aggregate: _aggregate,
    programs.Update: _update,
    programs.Increment: _increment,
    programs.Upsert: _upsert,
    programs.UpsertMany: _upsert_many,
    programs.GetOrAdd: _get_or_add,
    programs.Save: _save,
    programs.Delete: _delete,
    programs.UpdateWhere: _update_where,
    programs.UpdateMany: _update_many,
    programs.DeleteWhere: _delete_where,
    programs.PatchWhere: _operate,
    programs.Replace: _operate,
    programs.Patch: _operate,
    programs.Batch: _operate,
    programs.Unit: _unit,
    programs.Initialize: _initialize,
    programs.Reopen: _reopen,
    programs.Stale: _stale,
}
