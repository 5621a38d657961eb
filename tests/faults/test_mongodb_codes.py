"""What MongoDB's codes mean, and what happens when it says nothing: told by a fake server."""

from __future__ import annotations

import pytest
from tests.faults.notes import NOTES, add, lent, options, within
from tests.faults.proxy import Way, proxy
from tests.faults.servers import FakeMongo, fake_mongo

from healthstore.abc import Backend, BackendURL
from healthstore.abc.registry import connect
from healthstore.errors import (
    BackendError,
    Condition,
    DeadlineExceededError,
    HealthstoreError,
    Outcome,
    OutcomeUnknownError,
    ReadOnlyError,
    RefusedValueError,
    UnavailableError,
)
from healthstore.model.ops import Find


async def fake_store(fake: FakeMongo) -> Backend:
    """Return a store on a fake server that has the collection; opened."""
    fake.answers["listCollections"] = {
        "ok": 1,
        "cursor": {"id": 0, "ns": "faults.$cmd.listCollections", "firstBatch": [{"name": "notes"}]},
    }
    fake.answers["insert"] = {"ok": 1, "n": 1}
    store = connect(BackendURL.parse(options(fake.url, timeout=2)))
    await store.open()
    await add(store, "warm")
    return store


@pytest.mark.parametrize(
    ("code", "kind", "condition", "outcome"),
    [
        (10107, ReadOnlyError, Condition.READ_ONLY, Outcome.NOT_APPLIED),
        (13435, ReadOnlyError, Condition.READ_ONLY, Outcome.NOT_APPLIED),
        (10058, ReadOnlyError, Condition.READ_ONLY, Outcome.NOT_APPLIED),
        (14031, ReadOnlyError, Condition.READ_ONLY, Outcome.NOT_APPLIED),
        (91, OutcomeUnknownError, Condition.DOWN, Outcome.UNKNOWN),
        (189, OutcomeUnknownError, Condition.DOWN, Outcome.UNKNOWN),
        (11600, OutcomeUnknownError, Condition.DOWN, Outcome.UNKNOWN),
        (11602, OutcomeUnknownError, Condition.DOWN, Outcome.UNKNOWN),
        (13436, OutcomeUnknownError, Condition.DOWN, Outcome.UNKNOWN),
        (6, OutcomeUnknownError, Condition.SUSPECT, Outcome.UNKNOWN),
        (9001, OutcomeUnknownError, Condition.SUSPECT, Outcome.UNKNOWN),
        (10334, RefusedValueError, Condition.OK, Outcome.NOT_APPLIED),
        (17419, RefusedValueError, Condition.OK, Outcome.NOT_APPLIED),
        (462, UnavailableError, Condition.OVERLOADED, Outcome.NOT_APPLIED),
        (8_000_000, BackendError, Condition.SUSPECT, Outcome.UNKNOWN),
    ],
)
async def test_a_code_of_mongodb_says_what_happened(
    code: int, kind: type[HealthstoreError], condition: Condition, outcome: Outcome
) -> None:
    """The number is read where the driver keeps it, which is no attribute of some errors."""
    async with fake_mongo() as fake:
        store = await fake_store(fake)
        fake.fail("insert", code)
        with pytest.raises(kind) as caught:
            await add(store, "told")
        await store.close()
    assert type(caught.value) is kind
    assert caught.value.condition is condition
    assert caught.value.outcome is outcome


async def test_mongodb_without_an_answer_ends_at_the_deadline() -> None:
    """The driver has no limit of its own on a reply: ours holds, for reads and for writes."""
    async with fake_mongo() as fake:
        fake_url = options(fake.url, timeout=0.5)
        store = await fake_store(fake)
        await store.close()
        async with proxy("127.0.0.1", fake.port) as between, lent(between.url(fake_url)) as slow:
            await add(slow, "warm")
            between.blackhole(Way.REPLY)
            with within(0.5), pytest.raises(DeadlineExceededError) as read:
                await slow.execute(Find(NOTES, limit=1))
            assert read.value.outcome is Outcome.NOT_APPLIED
            with within(0.5), pytest.raises(DeadlineExceededError) as write:
                await add(slow, "lost")
            assert write.value.outcome is Outcome.UNKNOWN
