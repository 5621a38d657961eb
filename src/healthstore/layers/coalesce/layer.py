"""The layer: a request goes at once if its lane is free, and otherwise with those that wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Hashable, Sequence
from contextvars import Context, ContextVar
from copy import copy
from functools import partial
from typing import Any, ClassVar, TypeVar, cast

from healthstore.abc.backend import Backend, Capabilities, Executor, Unit, UnitOptions
from healthstore.abc.causes import place_of
from healthstore.abc.layer import Layer
from healthstore.abc.unit import deadline_exceeded
from healthstore.errors import (
    BackendError,
    Condition,
    DeadlineExceededError,
    HealthstoreError,
    IntegrityError,
    LifecycleError,
    Outcome,
    OutcomeUnknownError,
    ReadOnlyError,
    SerializationError,
    StaleVersionError,
    UnavailableError,
)
from healthstore.layers.coalesce.joining import FORMS, Alone, Form
from healthstore.layers.coalesce.lane import Batch, Lane, Waiting
from healthstore.model.ops import Effect, Op

__all__ = ("Apart", "CoalesceLayer")

R = TypeVar("R")

_PLACES = 2  # on the wire, of a lane: one for each request of one caller, all for a joint one
_PATIENCE = 0.05  # seconds: nobody waits behind what takes longer, for a lock perhaps
_FAREWELL = 2.0  # seconds that closing waits for what it has cancelled
_FEW = 4  # requests that go one by one, after they failed together
_CONFLICTS = 3  # times that they are repeated together when the database ended them
_PAUSE = 0.005  # seconds before the first time, at most
# What says nothing about any one of the requests that failed together.
_COMMON = (DeadlineExceededError, LifecycleError, ReadOnlyError, UnavailableError)

_apart: ContextVar[bool] = ContextVar("healthstore_apart", default=False)


class CoalesceLayer(Layer):
    """Sends requests together that wait for the same lane.

    While requests of a kind for one collection are on the wire, others of that kind wait; when
    one is answered, those that wait leave together, as one request. One that finds its lane free
    goes at once, and nothing waits for company. Each caller gets its own part of the answer, or
    the error that is its own: what was surely not applied is tried again without the others.

    A joint request belongs to none of its callers: it runs in a task and a context of its own,
    for at most ``seconds``, goes on when some of them are cancelled, and ends when all are. Only
    the operations of ``capabilities.coalesced`` are sent together, and none inside a unit.
    """

    rank: ClassVar[int] = 105

    def __init__(self, inner: Backend, *, seconds: float = 30.0) -> None:
        super().__init__(inner)
        self._seconds = seconds
        self._lanes: dict[Hashable, Lane] = {}
        self._batches: set[Batch] = set()

    async def open(self) -> None:
        """Open the backend below; what was under way in a loop that has ended is forgotten."""
        self._lanes, self._batches = {}, set()
        await self.inner.open()

    async def close(self) -> None:
        """Close the backend below; joint requests are ended, and their callers told."""
        tasks = {each.task for each in self._batches if each.task is not None}
        ours = {each for each in tasks if each.get_loop() is asyncio.get_running_loop()}
        for task in ours:
            task.cancel()
        if ours:
            await asyncio.wait(ours, timeout=_FAREWELL)
        await self.inner.close()

    async def begin(self, options: UnitOptions = UnitOptions()) -> Unit:  # noqa: B008 - frozen
        """Begin a unit below, without this layer."""
        return await self.inner.begin(options)

    def over(self, unit: Unit) -> Executor:
        """Return the unit itself: it is one caller's."""
        return unit

    def execute(self, op: Op[R]) -> Coroutine[Any, Any, R]:
        """Run the operation below, by itself or together with others."""
        kind = type(op)
        form = FORMS.get(kind)
        if form is None or kind not in self.inner.capabilities.coalesced or _apart.get():
            return self.inner.execute(op)
        place = form.lane(op)
        if place is None:
            return self.inner.execute(op)
        return self._execute_in_lane((kind, place), form, op)

    async def _execute_in_lane(self, key: Hashable, form: Form, op: Op[R]) -> R:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, form)
            lane.on_wire = 1
        elif lane.on_wire < _PLACES and not lane.waiting and not lane.leaving:
            lane.on_wire += 1
        else:
            waiting = self._lined_up(lane, op)
            try:
                answer = await waiting.answer
            except asyncio.CancelledError:
                self._left(waiting)
                raise
            if answer is Alone.AGAIN:
                return await self.inner.execute(op)
            if isinstance(answer, HealthstoreError):
                raise answer from answer.__cause__
            if not isinstance(answer, Lane):
                return cast(R, answer)
            lane = answer
        try:
            return await self.inner.execute(op)
        finally:
            lane.on_wire -= 1
            if lane.waiting:
                self._leave_soon(lane)
            elif not lane.on_wire and not lane.leaving:
                self._end(lane)

    def _lined_up(self, lane: Lane, op: Op[Any]) -> Waiting:
        """Let an operation wait until something is told; see :class:`Waiting`."""
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        waiting = Waiting(op, lane.form.size(op), answer)
        lane.waiting.append(waiting)
        self._be_patient(lane)
        return waiting

    def _left(self, waiting: Waiting) -> None:
        """Forget one whose caller was cancelled while it waited."""
        if waiting.batch is not None:
            waiting.batch.leave()
        elif not waiting.answer.cancelled() and isinstance(place := waiting.answer.result(), Lane):
            place.on_wire -= 1  # it was its turn
            self._leave_soon(place)

    # --- a lane ------------------------------------------------------------------------------

    def _leave_soon(self, lane: Lane) -> None:
        """Send those who wait, once those who have an answer have had time to ask for more."""
        if not lane.leaving:
            lane.leaving = True
            asyncio.get_running_loop().call_soon(self._leave, lane, context=Context())

    def _leave(self, lane: Lane) -> None:
        lane.leaving = False
        while lane.waiting and lane.on_wire < _PLACES:
            self._send(lane)
        if not lane.on_wire and not lane.waiting:
            self._end(lane)

    def _overdue(self, lane: Lane, sent: int) -> None:
        """Give those another lane who wait behind what takes long."""
        lane.timer = None
        if lane.waiting and lane.sent == sent:
            other = self._lanes[lane.key] = Lane(lane.key, lane.form)
            other.waiting, lane.waiting = lane.waiting, []
            lane = other
            self._leave(lane)
        if lane.waiting:
            self._be_patient(lane)

    def _be_patient(self, lane: Lane) -> None:
        if lane.timer is None:
            loop = asyncio.get_running_loop()
            lane.timer = loop.call_later(
                _PATIENCE, self._overdue, lane, lane.sent, context=Context()
            )

    def _send(self, lane: Lane) -> None:
        requests = lane.next()
        if not requests:
            return
        lane.sent += 1
        if len(requests) == 1:
            lane.on_wire += 1
            requests[0].tell(lane)
            return
        lane.on_wire += _PLACES
        batch = Batch(requests)
        self._batches.add(batch)
        # In no caller's context: a trace or a log would name one of them for all.
        batch.task = asyncio.get_running_loop().create_task(
            self._carry(lane.form, batch.requests),
            name=f"healthstore: together to {self.name}",
            context=Context(),
        )
        # Not at the end of the task itself: one that is cancelled at once never begins.
        batch.task.add_done_callback(partial(self._landed, lane, batch), context=Context())

    def _end(self, lane: Lane) -> None:
        if lane.timer is not None:
            lane.timer.cancel()
        if self._lanes.get(lane.key) is lane:
            del self._lanes[lane.key]

    # --- a joint request -----------------------------------------------------------------------

    def _landed(self, lane: Lane, batch: Batch, task: asyncio.Task[None]) -> None:
        """Tell those who have no answer, and let the next ones leave."""
        self._batches.discard(batch)
        # Cancelled, when all callers have gone or the backend is closed; or a defect.
        error = None if task.cancelled() else task.exception()
        for each in batch.requests:
            if not each.answer.done():
                reads = each.op.effect is Effect.READ
                each.tell(Alone.AGAIN if reads else _unanswered(error, self.name))
        batch.landed()
        lane.on_wire -= _PLACES
        self._leave_soon(lane)

    async def _carry(self, form: Form, requests: Sequence[Waiting], conflicts: int = 0) -> None:
        left = [each for each in requests if not each.answer.done()]
        if len(left) < 2:
            _send_alone(left)
            return
        ops = [each.op for each in left]
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self.inner.execute(form.joined(ops))
        except HealthstoreError as error:
            await self._resolve(form, left, error, conflicts)
        except TimeoutError:
            late = deadline_exceeded(ops[0].effect is not Effect.READ).at(backend=self.name)
            await self._resolve(form, left, late, conflicts)
        else:
            for each, part in zip(left, form.parted(ops, answer), strict=True):
                each.tell(part)

    async def _resolve(
        self, form: Form, requests: Sequence[Waiting], error: HealthstoreError, conflicts: int
    ) -> None:
        """Find whose error it is: what was not applied is sent again, in smaller parts."""
        if error.outcome is Outcome.UNKNOWN or isinstance(error, _COMMON):
            for each in requests:
                each.tell(_another(error))
        elif isinstance(error, IntegrityError | StaleVersionError) and len(requests) > _FEW:
            half = len(requests) // 2
            async with asyncio.TaskGroup() as halves:
                halves.create_task(self._carry(form, requests[:half]))
                halves.create_task(self._carry(form, requests[half:]))
        elif (
            isinstance(error, SerializationError)
            and error.condition is Condition.OK
            and conflicts < _CONFLICTS
        ):
            # It gave way to another one like it, perhaps: each alone, they would do so, too.
            await asyncio.sleep(random.uniform(0, _PAUSE * 2**conflicts))  # noqa: S311 - no secret
            await self._carry(form, requests, conflicts + 1)
        else:
            _send_alone(requests)


def _send_alone(requests: Sequence[Waiting]) -> None:
    for each in requests:
        each.tell(Alone.AGAIN)


def _another(error: HealthstoreError) -> HealthstoreError:
    """Return a copy for one caller: an exception collects the places where it was raised."""
    own = copy(error)
    own.__cause__ = error.__cause__
    return own


def _unanswered(error: BaseException | None, backend: str) -> HealthstoreError:
    """Return the error for a write that a joint request has left without an answer."""
    if error is not None:
        return BackendError(
            f"a defect of healthstore: {place_of(error)}",
            hint="report it with this text and the version of healthstore",
            outcome=Outcome.UNKNOWN,
            backend=backend,
        )
    return OutcomeUnknownError(
        "the backend was closed during the write",
        hint="when it is open again, read the document to see whether it was written",
        outcome=Outcome.UNKNOWN,
        backend=backend,
    )


class Apart:
    """An executor whose requests are never sent together with those of other tasks."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        """The member's name."""
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        """Those of the executor below."""
        return self._inner.capabilities

    async def execute(self, op: Op[R]) -> R:
        """Run the operation below, by itself."""
        token = _apart.set(True)
        try:
            return await self._inner.execute(op)
        finally:
            _apart.reset(token)
