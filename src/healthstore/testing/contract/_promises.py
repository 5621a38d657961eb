"""What the modules of the contract share: the store under test, and absent capabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import update_wrapper
from typing import TypeVar, cast
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from healthstore.abc import Backend, Isolation, Unit, UnitOptions
from healthstore.build import build_guard
from healthstore.errors import (
    CapabilityError,
    ConfigurationError,
    ConflictError,
    Outcome,
    SerializationError,
)
from healthstore.model.ops import (
    Alter,
    Batch,
    Delete,
    Ensure,
    Find,
    Get,
    Insert,
    Operation,
    Patch,
    Replace,
)
from healthstore.model.schema import Reference
from healthstore.model.values import Document
from healthstore.testing.claims import CLAIMS
from healthstore.testing.contract._samples import PEOPLE, add, family, ids, member, person, stored

__all__ = (
    "Contract",
    "cancelled_while_waiting",
    "laws",
    "needs_alterations",
    "needs_locks",
    "needs_parts",
    "needs_references",
    "needs_serializable",
    "needs_stops_cancelled",
    "needs_transactions",
    "partly_needs",
    "proves",
    "refuses",
)

T = TypeVar("T", bound="Callable[..., Coroutine[object, object, None]]")
P = TypeVar("P", bound="Callable[..., object]")

# A law is tried on one store that keeps its documents between the examples.
laws = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.filter_too_much,
    ],
)


@pytest.mark.asyncio
class Contract:
    """What every part of the contract has: ``store``, the author's backend behind the guard."""

    @pytest.fixture
    def store(self, backend: Backend) -> Backend:
        """Return the backend as every user meets it: behind the guard, with deletes planned."""
        return build_guard(backend)


def proves(*claims: str) -> Callable[[P], P]:
    """Say which claims of :data:`healthstore.testing.claims.CLAIMS` a test of the contract proves.

    Raises LookupError for a name that is no claim. It stands above every other decorator.
    """
    for name in claims:
        if name not in CLAIMS:
            raise LookupError(f"no claim is called {name!r}: see healthstore.testing.claims")
    mark = pytest.mark.healthstore_claims(*claims)

    def decorate(test: P) -> P:
        marked: P = mark(test)
        return marked

    return decorate


def partly_needs(capability: str) -> Callable[[P], P]:
    """Say that a part of a test needs a capability, and checks the refusal where it is absent."""
    return pytest.mark.healthstore_partly_needs(capability)


def _needs(capability: str, refusal: Callable[[Backend], Awaitable[None]]) -> Callable[[T], T]:
    """Make a test that checks the promise or, if the backend declares it absent, the refusal."""

    def decorate(test: T) -> T:
        async def promise(self: Contract, store: Backend, **arguments: object) -> None:
            if getattr(store.capabilities, capability):
                await test(self, store, **arguments)
            else:
                await refusal(store)

        # pytest finds the parameters of the test through `__wrapped__`.
        whole = update_wrapper(promise, test)
        return cast(T, pytest.mark.healthstore_needs(capability)(whole))

    return decorate


async def refuses(store: Backend, asked: Awaitable[object], capability: str = "") -> None:
    """Check that a request is refused for want of a capability, with a way out."""
    with pytest.raises(CapabilityError) as refused:
        await asked
    assert type(refused.value) is CapabilityError
    assert capability in refused.value.message
    assert refused.value.hint
    assert refused.value.backend == store.name
    assert refused.value.outcome is Outcome.NOT_APPLIED


async def refuses_transactions(store: Backend) -> None:
    """Check that units and atomic writes of several documents are refused before any I/O.

    The first round asks for a collection that is not there, the second for writes that the
    data would refuse: a backend that looked first would report something else.
    """
    await refuses(store, store.begin())
    people = (person(1), person(2))
    first, second = ids(people)
    missing = family("restrict")[0]
    absent = (member(missing), member(missing))
    await refuses(store, store.execute(Insert(missing, absent)))
    await refuses(store, store.execute(Batch((Insert(missing, absent[:1]),))))
    await add(store, PEOPLE, *people)
    before = await stored(store, PEOPLE)
    clash = (person(3), {**person(4), "email": people[0]["email"]})
    changed = tuple({**each, "visits": 7} for each in people)
    requests: tuple[Operation, ...] = (
        Insert(PEOPLE, clash),
        Replace(PEOPLE, changed, (9, 9)),
        Patch(PEOPLE, (first, second), sets=(("email", "x"),), versions=(9, 9)),
        Delete(PEOPLE, (first, second), (9, 9)),
        Batch((Insert(PEOPLE, clash[1:]),)),
    )
    for request in requests:
        await refuses(store, store.execute(request))
    assert await stored(store, PEOPLE) == before


async def refuses_references(store: Backend) -> None:
    """Check that entities with references, and their documents, are refused before any I/O.

    The definition is refused by the name of the capability, and nothing of it is made; writes
    are, too: a transfer may have brought the collection.
    """
    parents, children, _ = family("restrict")
    parents = replace(parents, name=f"made_{uuid4().hex[:12]}")
    children = replace(children, references=(Reference("parent", parents.name),))
    await refuses(store, store.execute(Ensure((parents, children))), "`references`")
    with pytest.raises(ConfigurationError):
        await store.execute(Find(parents))
    orphan = member(children, person()["id"])
    await refuses(store, store.execute(Insert(children, (orphan,))), "`references`")
    await refuses(store, store.execute(Replace(children, (orphan,))), "`references`")
    changed = Patch(children, ids([orphan]), sets=(("parent", None),))
    await refuses(store, store.execute(changed), "`references`")


async def refuses_alterations(store: Backend) -> None:
    """Check that a change of a definition is refused before any I/O; nothing is altered."""
    made = replace(PEOPLE, name=f"made_{uuid4().hex[:12]}")
    wanted = replace(made, indexes=())
    await refuses(store, store.execute(Alter(made, wanted)), "`alters`")
    await store.execute(Ensure((made,)))
    await refuses(store, store.execute(Alter(made, wanted)), "`alters`")
    assert (await store.execute(Ensure((made,)))).present == (made.name,)


async def refuses_serializable(store: Backend) -> None:
    """Check that a serializable unit is refused before any I/O."""
    options = UnitOptions(isolation=Isolation.SERIALIZABLE)
    await refuses(store, store.begin(options))


async def cancelled_while_waiting(store: Backend) -> tuple[Document, bool]:
    """Let six writes wait for a unit that has written a document, cancel them, commit the unit.

    Returns the document as it was before, and whether one of the six was done at once: so it is
    where nobody waits, and the unit may give way.
    """
    row = person(1)
    await add(store, PEOPLE, row)
    mine = ids([row])
    unit = await store.begin()
    try:
        await unit.execute(Patch(PEOPLE, mine, increments=(("visits", 1),)))
        waiting = [
            asyncio.create_task(store.execute(Patch(PEOPLE, mine, sets=(("name", f"{at}"),))))
            for at in range(6)
        ]
        await asyncio.wait(waiting, timeout=0.3)
        for task in waiting:
            task.cancel()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        kinds = {type(each) for each in ended}
        assert kinds <= {asyncio.CancelledError, SerializationError, tuple}
        try:
            await unit.commit()
        except ConflictError:
            assert tuple in kinds
    finally:
        await unit.rollback()
    return row, tuple in kinds


async def declares_going_on(store: Backend) -> None:
    """Check that what was cancelled while it waited is whole or not there, and in nobody's way."""
    row, _ = await cancelled_while_waiting(store)
    async with asyncio.timeout(10):
        visits = Patch(PEOPLE, ids([row]), increments=(("visits", 1),))
        (after,) = await store.execute(visits)
    assert after is not None
    assert after["name"] in {None, *"012345"}
    assert {**after, "name": None, "visits": 0} == row


def needs_stops_cancelled(test: T) -> T:
    """Check the promise where what is cancelled ends at the server, and what holds where not."""
    return _needs("stops_cancelled", declares_going_on)(test)


async def refuses_parts(store: Backend) -> None:
    """Check that a part of a unit is refused before any I/O, and that the unit goes on."""
    if not store.capabilities.transactions:
        await refuses(store, store.begin())
        return
    row = person(1)
    await add(store, PEOPLE, row)
    unit = await store.begin()
    try:
        await refuses(store, _entered(unit), "`parts`")
        await unit.execute(Patch(PEOPLE, ids([row]), sets=(("visits", 2),)))
        await unit.commit()
    finally:
        await unit.rollback()
    assert await stored(store, PEOPLE) == [{**row, "visits": 2}]


async def _entered(unit: Unit) -> None:
    async with unit.part():
        pytest.fail("the part began")


async def refuses_locks(store: Backend) -> None:
    """Check that a lock is refused before any I/O."""
    missing = replace(PEOPLE, name=f"made_{uuid4().hex[:12]}")
    await refuses(store, store.execute(Get(missing, ids([person(1)]), lock=True)), "`locks`")


def needs_locks(test: T) -> T:
    """Check the promise where a unit can lock documents, and the refusal where it cannot."""
    return _needs("locks", refuses_locks)(test)


def needs_parts(test: T) -> T:
    """Check the promise where a part of a unit can be undone, and the refusal where it cannot."""
    return _needs("parts", refuses_parts)(test)


def needs_transactions(test: T) -> T:
    """Check the promise where there are transactions, and their refusal where there are none."""
    return _needs("transactions", refuses_transactions)(test)


def needs_alterations(test: T) -> T:
    """Check the promise where definitions can be changed, and the refusal where they cannot."""
    return _needs("alters", refuses_alterations)(test)


def needs_references(test: T) -> T:
    """Check the promise where references are enforced, and their refusal where they are not."""
    return _needs("references", refuses_references)(test)


def needs_serializable(test: T) -> T:
    """Check the promise where units can be serializable, and the refusal where they cannot."""
    return _needs("serializable", refuses_serializable)(test)
