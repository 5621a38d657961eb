"""Units without asyncio: work that is run again, and parts that are undone."""

from __future__ import annotations

import threading
from typing import Annotated

import pytest

from healthstore import Entity, MaxLength, Unique
from healthstore.errors import (
    DuplicateKeyError,
    InvalidRequestError,
    LifecycleError,
    SerializationError,
)
from healthstore.sync import DatabaseManager, Transaction


class User(Entity, collection="users"):
    """Somebody with an email."""

    email: Annotated[str, Unique(), MaxLength(255)]


def test_work_is_run_in_a_unit_again_when_it_gave_way() -> None:
    """``run`` gives a plain function a transaction, repeats it whole and returns its answer."""
    with DatabaseManager("memory://") as db:
        db.initialize(User)
        called: list[int] = []

        def work(tx: Transaction) -> str:
            called.append(1)
            tx.repository(User).add(User(email=f"{len(called)}@example.org"))
            if len(called) < 3:
                raise SerializationError("gave way")
            return "done"

        assert db.run(work, attempts=3) == "done"
        assert [each.email for each in db.repository(User).find()] == ["3@example.org"]

        async def wrong(tx: Transaction) -> None:
            del tx

        with pytest.raises(InvalidRequestError, match="asynchronous"):
            db.run(wrong)


def test_a_part_of_a_transaction_is_undone() -> None:
    """What fails in ``tx.part()`` is undone, and the transaction goes on, in one thread only."""
    with DatabaseManager("memory://") as db:
        db.initialize(User)
        with db.transaction() as tx:
            users = tx.repository(User)
            users.add(User(email="a@example.org"))
            with pytest.raises(DuplicateKeyError), tx.part():  # noqa: PT012 - the block is what fails
                users.add(User(email="b@example.org"))
                users.add(User(email="a@example.org"))
            with tx.part():
                users.add(User(email="c@example.org"))
                refused: list[BaseException] = []

                def other() -> None:
                    try:
                        users.count()
                    except LifecycleError as error:
                        refused.append(error)

                thread = threading.Thread(target=other)
                thread.start()
                thread.join()
                assert refused
            users.add(User(email="d@example.org"))
        assert db.repository(User).count() == 3
