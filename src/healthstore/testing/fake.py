"""Entities that look real, are valid, and are the same in every run.

::

    users = fake(User, 10)
    logs = fake(MoodLog, 100, user_id=users, seed=7)     # each belongs to one of the users
    admin, = fake(User, 1, email="ann@example.org")      # the rest is made up

The same seed gives the same entities, on any machine and Python, as long as the versions of
Faker and polyfactory are the same. Instants lie in the two years before 2026-01-01. Needs
``python -m pip install "healthstore[testing]"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from random import Random
from typing import TypeVar
from uuid import UUID

from pydantic import ValidationError

from healthstore.entity import Entity, collection_of, computed_fields, to_document
from healthstore.errors import HealthstoreError, InvalidRequestError
from healthstore.model.evaluate import Key, matches, unique_keyed
from healthstore.model.query import fields_in
from healthstore.model.schema import Collection, Reference, Unique
from healthstore.model.values import Document
from healthstore.testing._makers import Maker, Makers, Pool, identity_at

__all__ = ("fake",)

M = TypeVar("M", bound=Entity)

# Made from created_at, or by the entity itself.
_DERIVED = frozenset({"id", "updated_at", "version"})
_ATTEMPTS = 200
_MOST_ATTEMPTS = 20_000  # to walk through all combinations of a small unique key


def fake(
    entity: type[M],
    count: int = 1,
    /,
    *,
    seed: int = 0,
    refs: Mapping[type[Entity], Sequence[Entity | UUID]] | None = None,
    **fixed: object,
) -> list[M]:
    """Return ``count`` entities with made-up values, which :meth:`Repository.add` accepts.

    Types, limits and constraints, unique keys (within the call) and checks hold; an optional
    field is sometimes None. ``fixed`` gives fields the same value in each of them; for a field
    with a Ref it gives parents, entities or ids, one of which each entity gets. ``refs`` gives
    parents by their class, for all fields that refer to them.

    Raises InvalidRequestError for a required Ref without parents, and where no value satisfies
    all rules; UnknownFieldError; MissingDriverError if Faker or polyfactory is not installed.
    """
    collection = collection_of(entity)
    if count < 0:
        raise InvalidRequestError("fewer than no entities", hint="ask for 0 or more")
    for name in fixed:
        collection.field(name)
    random = Random(f"{seed}:{collection.name}")  # noqa: S311 - the same in every run, on purpose
    given = _given(collection, refs or {}, fixed)
    plan = _plan(entity, collection, random, given)
    own = [
        each.field
        for each in collection.references
        if each.collection == collection.name and each.field not in given
    ]
    taken = _Taken(collection)
    made: list[M] = []
    for _ in range(count):
        made.append(_valid(entity, plan, taken, random))
        for name in own:  # the later ones may refer to the earlier
            plan[name] = Pool([None, *(each.id for each in made)], random)
    return made


def _given(
    collection: Collection,
    refs: Mapping[type[Entity], Sequence[Entity | UUID]],
    fixed: Mapping[str, object],
) -> dict[str, object]:
    """Return what the caller gives, by field."""
    parents = {collection_of(each).name: given for each, given in refs.items()}
    by_reference = {
        each.field: parents[each.collection]
        for each in collection.references
        if each.collection in parents
    }
    return {**by_reference, **fixed}


def _plan(
    entity: type[Entity], collection: Collection, random: Random, given: Mapping[str, object]
) -> dict[str, Maker]:
    """Return for each field how its values are made; some follow from ``created_at``."""
    makers = Makers(entity, collection, random)
    references = {each.field: each for each in collection.references}
    plan: dict[str, Maker] = {}
    computed = computed_fields(entity)
    for name in collection.names:
        if name in references:
            plan[name] = _parents(collection, references[name], random, given)
        elif name in given:
            plan[name] = _constant(given[name])
        elif name not in _DERIVED and name not in computed:
            plan[name] = makers.maker(name)
    stride: dict[str, int] = {}
    for unique in collection.uniques:
        size = 1
        for name in unique.fields:
            maker = plan.get(name)
            if isinstance(maker, Pool) and name not in stride:
                stride[name] = maker.stride = size
                size *= len(maker.choices)
    return plan


def _constant(value: object) -> Maker:
    return lambda _: value


def _parents(
    collection: Collection, reference: Reference, random: Random, given: Mapping[str, object]
) -> Maker:
    """Return the maker of a reference: one of the parents that are given, or None."""
    parents = given.get(reference.field)
    listed = parents if isinstance(parents, Sequence) else [parents]
    ids = [each.id if isinstance(each, Entity) else each for each in listed if each is not None]
    if ids:
        return Pool(ids, random)
    if collection.nullable(reference.field):
        return _constant(None)
    raise InvalidRequestError(
        f"fake() needs the {reference.collection} that it refers to",
        hint=f"pass entities or ids: fake({collection.entity}, ..., {reference.field}=[...])",
        entity=collection.entity,
        field=reference.field,
    )


class _Taken:
    """The unique keys of one call that are taken."""

    def __init__(self, collection: Collection) -> None:
        keys = (Unique("id"), *collection.uniques)
        self._keys: dict[Unique, set[Key]] = {each: set() for each in keys}
        self._keyed = {each: unique_keyed(collection, each) for each in keys}

    def clash(self, document: Document) -> tuple[str, ...]:
        """Return the fields of a key that a document shares with an earlier one, or nothing."""
        for unique, taken in self._keys.items():
            if self._keyed[unique](document) in taken:
                return unique.fields
        return ()

    def add(self, document: Document) -> None:
        """Take a document's keys; nulls never collide."""
        for unique, taken in self._keys.items():
            key = self._keyed[unique](document)
            if None not in key:
                taken.add(key)


def _valid(entity: type[M], plan: Mapping[str, Maker], taken: _Taken, random: Random) -> M:
    """Make values until they satisfy every rule; only those that break one are made again."""
    collection = collection_of(entity)
    values = {name: make(0) for name, make in plan.items()}
    values.setdefault("id", identity_at(values["created_at"], random))
    pools = (len(each.choices) for each in plan.values() if isinstance(each, Pool))
    attempts = _ATTEMPTS + min(prod(pools), _MOST_ATTEMPTS)
    reason = ""
    for attempt in range(1, attempts):
        made, document, reason, wrong = _tried(entity, collection, values, taken)
        if made is not None and document is not None:
            taken.add(document)
            return made
        again = [name for name in wrong if name in plan] or list(plan)
        values.update({name: plan[name](attempt) for name in again})
    raise InvalidRequestError(
        f"fake() finds no values that satisfy the rules: {reason}",
        hint="give the values of some fields, or ask for fewer entities",
        entity=collection.entity,
    )


def _tried(
    entity: type[M], collection: Collection, values: Mapping[str, object], taken: _Taken
) -> tuple[M | None, Document | None, str, Sequence[str]]:
    """Return the entity and its document, or what is wrong and in which fields."""
    try:
        made = entity.model_validate(dict(values), by_alias=False, by_name=True)
        written = to_document(made)
        document: Document = {
            each.name: None if written[each.name] is None else each.canonical(written[each.name])
            for each in collection.columns
        }
    except ValidationError as error:
        first = error.errors(include_input=False, include_context=False, include_url=False)[0]
        names = [str(first["loc"][0])] if first["loc"] else []
        return None, None, f"{', '.join(names) or 'the entity'} is refused ({first['type']})", names
    except (HealthstoreError, TypeError, ValueError) as error:
        return None, None, f"a value cannot be kept ({type(error).__name__})", []
    for name, rule in collection.rules.items():
        if not matches(rule)(document):
            return None, None, f"the check {name!r}", sorted(fields_in(rule))
    if fields := taken.clash(document):
        return None, None, f"{', '.join(fields)} must be unique", fields
    return made, document, "", ()
