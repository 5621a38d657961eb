"""How many documents stand against a change, or lose something by it.

What a filter can tell the store counts; what none can, such as which texts are too long, is
counted here, by reading the collection once, a page at a time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import pairwise
from typing import Any, cast
from uuid import UUID

from healthstore.abc.backend import Backend
from healthstore.model import evaluate
from healthstore.model.change import (
    AddCheck,
    AddField,
    AddReference,
    AddUnique,
    Change,
    ChangeField,
    DropCollection,
    DropField,
    State,
)
from healthstore.model.definition import Definition, Field
from healthstore.model.ops import CountDocuments, Find, Get
from healthstore.model.query import (
    ALL,
    NONE,
    And,
    Filter,
    Not,
    Operator,
    Or,
    Order,
    Test,
    fields_in,
)
from healthstore.model.schema import Collection
from healthstore.model.text import folded
from healthstore.model.values import Document, FieldType, Kind, Value, canonicaliser
from healthstore.schema.fitting import alike, fitting
from healthstore.transfer.selection import catalog

__all__ = ("count_against",)

_PAGE = 1_000  # documents read in the order of a key


async def count_against(guarded: Backend, change: Change, stored: Collection, state: State) -> int:
    """Return how many documents stand against a change, or lose something by it.

    ``stored`` is the definition that the store holds, ``state`` what the changes before this one
    make of it. Raises what reading raises.
    """
    count = _COUNTS.get(type(change))
    return 0 if count is None else await count(_Asked(guarded, change, stored, state))


class _Asked:
    """A change, and the documents that it is about."""

    def __init__(self, store: Backend, change: Any, stored: Collection, state: State) -> None:
        self.store = store
        self.change = change
        self.stored = stored
        self.now: Definition = state[stored.name]

    async def of(self, where: Filter) -> int:
        """Return how many documents satisfy a filter."""
        return await self.store.execute(CountDocuments(self.stored, where))

    async def that(self, stands: Callable[[Document], bool]) -> int:
        """Return how many documents a function holds for, each with what is new in it."""
        new = {each.name: each.default for each in self.now.fields}
        found = 0
        async for page in self.pages():
            found += sum(stands({**new, **document}) for document in page)
        return found

    async def pages(
        self, where: Filter = ALL, keys: Sequence[str] = ()
    ) -> AsyncIterator[tuple[Document, ...]]:
        """Yield the documents that satisfy a filter, in order of their keys, a page at a time."""
        order = tuple(map(Order, (*keys, "id")))
        position: tuple[Value, ...] | None = None
        while True:
            find = Find(self.stored, where, order, limit=_PAGE, after=position)
            page = await self.store.execute(find)
            yield page
            if len(page) < _PAGE:
                return
            position = tuple(page[-1][each.field] for each in order)


async def _of_new_field(asked: _Asked) -> int:
    form = asked.change.form
    given = form.nullable or form.default is not None
    return 0 if given else await asked.of(ALL)  # nobody has a value for it


async def _of_lost_field(asked: _Asked) -> int:
    name = asked.change.name
    if name not in asked.stored.by_name:
        return 0
    return await asked.of(Test(name, Operator.NOT_NULL))


async def _of_lost_collection(asked: _Asked) -> int:
    return await asked.of(ALL)


async def _of_changed_field(asked: _Asked) -> int:
    name, form = asked.change.name, asked.change.form
    before = asked.stored.by_name.get(name)
    if before is None:
        return 0  # an earlier change has added it: rows have its default
    tests = [] if form.nullable or not before.nullable else [Test(name, Operator.IS_NULL)]
    beyond = _beyond(before, form.type)
    if beyond is not None:
        parts = (*tests, *beyond)
        return await asked.of(Or(parts)) if parts else 0
    fits = fitting(before.type, form.type)

    def stands(document: Document) -> bool:
        value = document[name]
        return bool(tests) if value is None else not fits(value)

    return await asked.that(stands)


def _beyond(before: Field, now: FieldType) -> list[Test] | None:
    """Return tests of which a value that is none of a new type satisfies one; None: none can tell."""
    was = before.type
    limits = (was.kind, was.milliseconds, was.places)
    longest = now.max_length
    shorter = longest is not None and (was.max_length is None or longest < was.max_length)
    folds = (now.searchable, now.words) != (was.searchable, was.words)
    if limits != (now.kind, now.milliseconds, now.places) or shorter or folds:
        return None
    parts: list[Test] = []
    if lost := tuple(sorted(set(was.choices) - set(now.choices))):
        parts.append(Test(before.name, Operator.IN, lost))
    if now.digits < was.digits:
        bound = Decimal(10) ** (now.digits - now.places)
        parts.append(Test(before.name, Operator.GE, bound))
        parts.append(Test(before.name, Operator.LE, -bound))
    return parts


async def _of_unique(asked: _Asked) -> int:
    """Count the documents whose key another one has that comes before it."""
    fields: tuple[str, ...] = asked.change.unique.fields
    new = [asked.now.by_name[each] for each in fields if each not in asked.stored.by_name]
    if any(each.default is None for each in new):
        return 0  # nulls never collide
    known = [each for each in fields if each in asked.stored.by_name]
    if not known:
        part = asked.change.unique.where
        return max(await asked.of(ALL if part is None else _of_stored(asked, part)) - 1, 0)
    where: Filter = Not(Or(tuple(Test(each, Operator.IS_NULL) for each in known)))
    if asked.change.unique.where is not None:
        where = And((where, _of_stored(asked, asked.change.unique.where)))
    if asked.change.unique.ignore_case:
        return await _alike(asked, where, known)
    found, last = 0, None
    async for page in asked.pages(where, known):
        keys = [tuple(document[each] for each in known) for document in page]
        found += sum(one == other for one, other in pairwise([last, *keys]))
        last = keys[-1] if keys else last
    return found


def _of_stored(asked: _Asked, where: Filter) -> Filter:
    """Return a condition as one of what is stored: a field that is new has its default in it."""
    if isinstance(where, And | Or):
        return type(where)(tuple(_of_stored(asked, each) for each in where.items))
    if isinstance(where, Not):
        return Not(_of_stored(asked, where.item))
    if where.field in asked.stored.by_name:
        return where
    default = asked.now.by_name[where.field].default
    return ALL if evaluate.matches(where)({where.field: default}) else NONE


async def _alike(asked: _Asked, where: Filter, known: Sequence[str]) -> int:
    """Count the same where case does not count, by which no store sorts: 16 bytes for each key."""
    found, seen = 0, set[bytes]()
    texts = {each.name for each in asked.stored.fields if each.type.kind is Kind.TEXT}
    async for page in asked.pages(where):
        for document in page:
            key = [
                folded(value) if isinstance(value, str) and name in texts else value
                for name, value in ((name, document[name]) for name in known)
            ]
            digest = blake2b(repr(key).encode(), digest_size=16).digest()
            found += digest in seen
            seen.add(digest)
    return found


async def _of_check(asked: _Asked) -> int:
    rule = asked.change.check.rule
    names = sorted(fields_in(rule))
    stored, now = asked.stored.by_name, asked.now.by_name
    nulls = tuple(Test(name, Operator.IS_NULL) for name in names)
    rule_or_null = Or((*nulls, rule))
    if all(name in stored and stored[name].type == now[name].type for name in names):
        return await asked.of(Not(rule_or_null))
    holds = evaluate.matches(rule_or_null)
    values = {
        name: canonicaliser(now[name].type)
        for name in names
        if not alike(stored.get(name, now[name]).type, now[name].type)
    }

    def stands(document: Document) -> bool:
        try:
            typed = {
                name: None if document[name] is None else canonical(document[name])
                for name, canonical in values.items()
            }
        except (TypeError, ValueError):
            return False  # the change of its type counts it
        return not holds({**document, **typed})

    return await asked.that(stands)


async def _of_reference(asked: _Asked) -> int:
    """Count the documents whose reference leads nowhere."""
    reference = asked.change.reference
    new = asked.now.by_name[reference.field]
    if reference.field not in asked.stored.by_name and new.default is None:
        return 0  # a new field: null
    parents = (await catalog(asked.store)).get(reference.collection)
    if reference.field not in asked.stored.by_name:
        given = cast(UUID, new.default)
        there = await asked.store.execute(Get(parents, (given,))) if parents else (None,)
        return await asked.of(ALL) if there == (None,) else 0
    if asked.stored.field(reference.field).type != asked.now.field(reference.field).type:
        return await asked.of(Test(reference.field, Operator.NOT_NULL))
    found = 0
    async for page in asked.pages():
        led = [cast(UUID, each) for row in page if (each := row[reference.field]) is not None]
        wanted = tuple(dict.fromkeys(led))
        stored = await asked.store.execute(Get(parents, wanted)) if parents and wanted else ()
        known = {cast(UUID, each["id"]) for each in stored if each is not None}
        found += sum(each not in known for each in led)
    return found


_COUNTS: Mapping[type, Callable[[_Asked], Awaitable[int]]] = {
    AddCheck: _of_check,
    AddField: _of_new_field,
    AddReference: _of_reference,
    AddUnique: _of_unique,
    ChangeField: _of_changed_field,
    DropCollection: _of_lost_collection,
    DropField: _of_lost_field,
}
