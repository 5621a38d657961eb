"""An insert in several requests: each document once, and the truth about all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import pytest
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

from healthstore.adapters.mongo import writes
from healthstore.adapters.mongo.codec import Codec
from healthstore.adapters.mongo.session import Session
from healthstore.errors import HealthstoreError, Outcome, UnavailableError
from healthstore.model.ops import Insert
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind

THINGS = Collection(
    "things", (Field("id", FieldType(Kind.UUID)), Field("version", FieldType(Kind.INTEGER)))
)
COUNT = 4 * writes.PART + 1
OP = Insert(
    THINGS, tuple({"id": UUID(int=each), "version": 1} for each in range(COUNT)), atomic=False
)


class _Server:
    """Stands for the session, the driver's collection and the server; ``answer`` may raise."""

    transaction = None

    def __init__(self, answer: Callable[[int], None] = lambda _: None) -> None:
        self.answer = answer
        self.begun = self.under_way = self.most = 0
        self.ids: list[UUID] = []

    def collection(self, name: str) -> _Server:
        assert name == THINGS.name
        return self

    async def insert_one(self, row: Mapping[str, Any], *, session: None) -> None:
        await self.insert_many([row], ordered=False, session=session)

    async def insert_many(
        self, rows: Sequence[Mapping[str, Any]], *, ordered: bool, session: None
    ) -> None:
        assert not ordered
        assert session is None
        number, self.begun = self.begun, self.begun + 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            self.answer(number)
        finally:
            self.under_way -= 1
        self.ids.extend(row["_id"] for row in rows)


async def insert(server: _Server) -> None:
    """Insert all documents."""
    session = cast(Session, server)
    await writes.insert_in_parts(session, Codec(THINGS), OP, translated)


def translated(error: Exception) -> HealthstoreError:
    """Return an error as the adapter would: a connection that was lost is in doubt."""
    known = UnavailableError("gone")
    known.outcome = Outcome.UNKNOWN if type(error) is AutoReconnect else Outcome.NOT_APPLIED
    return known


async def test_each_document_is_sent_once() -> None:
    """All requests together hold each document once, and two are under way at most."""
    server = _Server()
    await insert(server)
    assert sorted(server.ids) == [each["id"] for each in OP.documents]
    assert (server.begun, server.most) == (7, 2)  # 200, 300, 500, then 1,000 each, and one


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        ({0: ServerSelectionTimeoutError, 1: ServerSelectionTimeoutError}, Outcome.NOT_APPLIED),
        ({0: ServerSelectionTimeoutError, 1: AutoReconnect}, Outcome.UNKNOWN),
        ({0: AutoReconnect, 1: ServerSelectionTimeoutError}, Outcome.UNKNOWN),
        ({0: ServerSelectionTimeoutError}, Outcome.UNKNOWN),
        ({2: ServerSelectionTimeoutError}, Outcome.UNKNOWN),
    ],
)
async def test_an_error_says_whether_anything_may_be_stored(
    raised: Mapping[int, type[Exception]], outcome: Outcome
) -> None:
    """NOT_APPLIED holds for all documents; after an error no further request begins."""

    def answer(number: int) -> None:
        if number in raised:
            raise raised[number]("no answer")

    server = _Server(answer)
    with pytest.raises(UnavailableError) as error:
        await insert(server)
    assert error.value.outcome is outcome
    assert server.under_way == 0
    assert server.begun <= max(raised) + 2


async def test_a_refused_document_leaves_it_open_what_is_stored() -> None:
    """The server keeps the others of a request of which it refuses one."""
    refusal = HealthstoreError("refused")

    def answer(number: int) -> None:
        del number
        raise refusal

    with pytest.raises(HealthstoreError) as error:
        await insert(_Server(answer))
    assert error.value is refusal
    assert error.value.outcome is Outcome.UNKNOWN


async def test_a_cancellation_begins_no_further_request() -> None:
    """Also if it arrives together with an answer, when the driver may drop it."""
    server = _Server()
    task = asyncio.ensure_future(insert(server))

    def answer(number: int) -> None:
        del number
        task.cancel()

    server.answer = answer
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.begun == 2
