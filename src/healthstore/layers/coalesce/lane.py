"""A lane: requests that can travel together, those on the wire and those that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import Any

from healthstore.layers.coalesce.joining import Form
from healthstore.model.ops import Op

__all__ = ("Batch", "Lane", "Waiting")


class Waiting:
    """A request that waits, what its caller will be told, and with whom it has left."""

    __slots__ = ("answer", "batch", "op", "size")

    def __init__(self, op: Op[Any], size: int, answer: asyncio.Future[object]) -> None:
        self.op = op
        self.size = size
        self.answer = answer
        self.batch: Batch | None = None

    def tell(self, answer: object) -> None:
        """Tell the caller a result, an error, or to go by itself, unless it has left.

        A lane says: in this one, nobody else waited. An error is told as a value, because one
        that nobody fetches would be reported.
        """
        if not self.answer.done():
            self.answer.set_result(answer)


class Batch:
    """Requests that have left together, in a task of their own."""

    __slots__ = ("requests", "task")

    def __init__(self, requests: Sequence[Waiting]) -> None:
        self.requests = requests
        self.task: asyncio.Task[None] | None = None
        for each in requests:
            each.batch = self

    def landed(self) -> None:
        """Forget the requests, which know this one: else all documents would outlive their callers."""
        self.requests = ()

    def leave(self) -> None:
        """Let a caller go that was cancelled; when nobody waits any more, this ends."""
        if self.task is not None and all(each.answer.done() for each in self.requests):
            self.task.cancel()


class Lane:
    """The requests of one kind for one collection; it exists while one of them is under way.

    ``on_wire`` counts the places that are taken by what has left and is not answered; ``sent``
    what left after it had waited. While ``leaving``, those who wait are about to go.
    """

    __slots__ = ("form", "key", "leaving", "on_wire", "sent", "timer", "waiting")

    def __init__(self, key: Hashable, form: Form) -> None:
        self.key = key
        self.form = form
        self.on_wire = 0
        self.sent = 0
        self.leaving = False
        self.waiting: list[Waiting] = []
        self.timer: asyncio.TimerHandle | None = None

    def next(self) -> list[Waiting]:
        """Take those who leave next: the first ones, as many as the form lets travel together."""
        taken: list[Waiting] = []
        size = passed = 0
        for each in self.waiting:
            if not each.answer.done():  # otherwise its caller has gone
                size += each.size
                if taken and size > self.form.limit:
                    break
                taken.append(each)
            passed += 1
        del self.waiting[:passed]
        return taken
