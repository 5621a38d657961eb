"""Requests that are repeated: what was asked once is done once, and answered as the first time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, cast
from uuid import UUID, uuid4

import pytest
from pydantic import AwareDatetime, Field, JsonValue

from healthstore.abc import Backend
from healthstore.entity import Digits, Entity, MaxLength, collection_of
from healthstore.errors import (
    CheckError,
    ConfigurationError,
    DuplicateKeyError,
    IntegrityError,
    InvalidRequestError,
    Outcome,
    RefusedValueError,
    SerializationError,
)
from healthstore.model.ops import CountDocuments, Drop, Ensure
from healthstore.model.query import F
from healthstore.model.requests import REQUESTS
from healthstore.model.schema import Check, Collection, Unique
from healthstore.model.schema import Field as Column
from healthstore.model.values import FieldType, Kind
from healthstore.repository import Repository
from healthstore.repository.requests import forget_requests
from healthstore.testing.contract._promises import (
    Contract,
    needs_transactions,
    partly_needs,
    proves,
    refuses,
)

__all__ = ("TestRepeatedRequests",)

_DAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


class _Order(
    Entity, collection="contract_orders", checks=[Check("amount_is_positive", F.amount > 0)]
):
    code: Annotated[str, Unique(), MaxLength(40)]
    amount: Annotated[Decimal, Digits(12, 2)] = Decimal(1)
    at: AwareDatetime | None = None
    data: dict[str, JsonValue] = Field(default={})


class _Other(Entity, collection="contract_other_orders"):
    code: Annotated[str, MaxLength(40)]


async def _orders(store: Backend, now: datetime = _DAY) -> Repository[_Order]:
    await store.execute(Ensure((collection_of(_Order),)))
    return Repository(_Order, store, clock=lambda: now)


def _key() -> str:
    return f"{uuid4()}"


def _asked(code: str = "a", amount: str = "2.5") -> _Order:
    """Return what a request asks for: an object of its own each time."""
    return _Order(code=code, amount=Decimal(amount), at=_DAY, data={"n": [1, 2.5, {"$a": None}]})


class TestRepeatedRequests(Contract):
    """``add(x, idempotency_key=request_id)``."""

    @proves("T11")
    @needs_transactions
    async def test_a_repeated_request_gets_the_first_answer(self, store: Backend) -> None:
        """The entity as it was first stored, also when it has changed or gone since."""
        orders, key = await _orders(store), _key()
        first = await orders.add(_asked(), idempotency_key=key)
        assert await orders.get(first.id) == first
        assert await orders.add(_asked(), idempotency_key=key) == first
        await orders.update(first.id, {"amount": Decimal(9)})
        assert await orders.add(_asked(), idempotency_key=key) == first
        await orders.delete(first.id)
        again = await orders.add(_asked(), idempotency_key=key)
        assert again == first
        assert repr(again.data) == repr(first.data)
        assert await orders.count() == 0

    @proves("T11")
    @needs_transactions
    async def test_another_content_under_a_used_key_is_refused(self, store: Backend) -> None:
        """IntegrityError, which says no value; ids, times and versions are no content."""
        orders, key = await _orders(store), _key()
        first = await orders.add(_asked(), idempotency_key=key)
        other = _asked().model_copy(update={"created_at": _DAY, "version": 3})
        assert await orders.add(other, idempotency_key=key) == first
        for wrong in (
            _asked(amount="2.51"),
            _asked(code="b"),
            _asked().model_copy(update={"data": {"n": [True, 2.5, {"$a": None}]}}),
        ):
            with pytest.raises(IntegrityError) as error:
                await orders.add(wrong, idempotency_key=key)
            assert type(error.value) is IntegrityError
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert error.value.hint
            assert error.value.backend == store.name
            assert key not in str(error.value)
        assert await orders.count() == 1

    @proves("T11")
    @needs_transactions
    async def test_a_key_is_of_one_entity(self, store: Backend) -> None:
        """The same key of another entity is another request; without a key none is known."""
        orders, key = await _orders(store), _key()
        await store.execute(Ensure((collection_of(_Other),)))
        others = Repository(_Other, store)
        await orders.add(_asked(), idempotency_key=key)
        await others.add(_Other(code="a"), idempotency_key=key)
        await others.add(_Other(code="a"))
        await others.add(_Other(code="a"), idempotency_key=_key())
        assert (await orders.count(), await others.count()) == (1, 3)

    @proves("T11", "T15")
    @needs_transactions
    async def test_a_request_that_was_refused_is_not_remembered(self, store: Backend) -> None:
        """What the data refused may be asked for again, and its error is the data's."""
        orders, key = await _orders(store), _key()
        there = await orders.add(_asked())
        with pytest.raises(DuplicateKeyError) as taken:
            await orders.add(_asked(), idempotency_key=key)
        assert (taken.value.fields, taken.value.entity) == (("code",), "_Order")
        with pytest.raises(CheckError):
            await orders.add(_asked(code="b", amount="0"), idempotency_key=key)
        await orders.delete(there.id)
        stored = await orders.add(_asked(), idempotency_key=key)
        assert await orders.get(stored.id) == stored
        assert await orders.count() == 1

    @proves("T11")
    @needs_transactions
    async def test_of_twenty_that_come_at_once_one_is_stored(self, store: Backend) -> None:
        """Each of them is answered with that one."""
        orders, key = await _orders(store), _key()
        answers = await asyncio.gather(
            *(orders.add(_asked(), idempotency_key=key) for _ in range(20))
        )
        assert len({each.id for each in answers}) == 1
        assert await orders.count() == 1
        assert all(each == answers[0] for each in answers)

    @proves("T11")
    @needs_transactions
    async def test_a_request_is_known_for_its_time(self, store: Backend) -> None:
        """After that it is a new one; what is over is removed, what is not stays."""
        key, kept = _key(), _key()
        orders = await _orders(store)
        first = await orders.add(_asked(), idempotency_key=key)
        before, after = (
            await _orders(store, _DAY + timedelta(hours=23, minutes=59)),
            await _orders(store, _DAY + timedelta(hours=24)),
        )
        assert await before.add(_asked(), idempotency_key=key) == first
        await orders.delete(first.id)
        second = await after.add(_asked(), idempotency_key=key)
        assert second.id != first.id
        assert await after.add(_asked(), idempotency_key=key) == second
        short = Repository(_Order, store, clock=lambda: _DAY, remembered=timedelta(minutes=1))
        await short.add(_asked(code="c"), idempotency_key=kept)
        assert await forget_requests(store, _DAY + timedelta(seconds=59)) == 0
        assert await forget_requests(store, _DAY + timedelta(hours=1)) == 1
        assert await store.execute(CountDocuments(REQUESTS)) == 1
        with pytest.raises(DuplicateKeyError):
            await short.add(_asked(code="c"), idempotency_key=kept)

    @proves("T1", "T11")
    @needs_transactions
    async def test_in_a_unit_it_is_of_the_unit(self, store: Backend) -> None:
        """It goes with it, and a unit that another was faster than is run again whole."""
        orders, key = await _orders(store), _key()
        await orders.add(_asked(code="first"), idempotency_key=_key())  # the collection is there
        for keep in (False, True):
            unit = await store.begin()
            try:
                inside = Repository(_Order, unit, attempts=1, clock=lambda: _DAY)
                added = await inside.add(_asked(), idempotency_key=key)
                assert await inside.add(_asked(), idempotency_key=key) == added
                if keep:
                    await unit.commit()
            finally:
                await unit.rollback()
            assert await orders.count(F.code == "a") == (1 if keep else 0)
        assert await orders.add(_asked(), idempotency_key=key) == added

        async def work() -> UUID:
            while True:
                unit = await store.begin()
                try:
                    inside = Repository(_Order, unit, attempts=1, clock=lambda: _DAY)
                    answer = await inside.add(_asked(code="b"), idempotency_key=both)
                    await unit.commit()
                except SerializationError:
                    await asyncio.sleep(0.002)
                    continue
                finally:
                    await unit.rollback()
                return answer.id

        both = _key()
        async with asyncio.timeout(60):
            one, other = await asyncio.gather(work(), work())
        assert one == other
        assert await orders.count() == 3

    @partly_needs("transactions")
    async def test_what_is_no_key_is_refused_before_any_io(self, store: Backend) -> None:
        """No text, an empty or a long one, half of a character; and where nothing is kept whole."""
        orders = Repository(_Order, store)
        for wrong in ("", "x" * 201, "\ud800", cast(str, 7), cast(str, b"x")):
            with pytest.raises(RefusedValueError) as error:
                await orders.add(_asked(), idempotency_key=wrong)
            assert error.value.hint
        with pytest.raises(InvalidRequestError):
            await orders.add(cast(_Order, _Other(code="a")), idempotency_key="x")
        if not store.capabilities.transactions:
            await store.execute(Ensure((collection_of(_Order),)))
            await refuses(store, orders.add(_asked(), idempotency_key="x"))
            assert await orders.count() == 0

    async def test_the_collection_is_the_librarys(self, store: Backend) -> None:
        """No entity can have its name, and nobody drops it."""
        fields = (Column("id", FieldType(Kind.UUID)), Column("version", FieldType(Kind.INTEGER)))
        with pytest.raises(ConfigurationError) as error:
            await store.execute(Ensure((Collection(REQUESTS.name, fields),)))
        assert "the library's own" in error.value.message
        if store.capabilities.alters:
            with pytest.raises(InvalidRequestError):
                await store.execute(Drop(REQUESTS))
