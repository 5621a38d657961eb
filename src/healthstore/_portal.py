"""The portal: one event loop in a thread of its own, through which other threads run coroutines."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from healthstore.errors import LifecycleError, Outcome

T = TypeVar("T")
# Seconds. A signal that arrives just before a thread blocks, or any on Windows, does not wake it.
_ATTENTION = 0.5
_OURS = "healthstore_"  # begins the names of the library's context variables


class _Answer(Generic[T]):
    """A result, or an error, that one thread waits for and another one gives.

    ``unwanted`` says that nobody waits any more.

    It is made of one lock of the interpreter's own. What a signal handler raises in the thread
    that waits may come up between any two steps of Python, and leaves a ``threading.Condition``,
    and so a ``concurrent.futures.Future``, locked for ever (python/cpython#74174).
    """

    __slots__ = ("_error", "_latch", "_result", "given", "unwanted")

    def __init__(self) -> None:
        self.given = False
        self.unwanted = False
        self._result: T
        self._error: BaseException | None = None
        self._latch = threading.Lock()
        self._latch.acquire()

    def give(self, result: T) -> None:
        """Hand the result over."""
        self._result = result
        self._release()

    def fail(self, error: BaseException) -> None:
        """Hand an error over."""
        self._error = error
        self._release()

    def _release(self) -> None:
        self.given = True
        self._latch.release()

    def wait(self) -> None:
        """Wait until there is a result or an error."""
        while not self.given:
            self._latch.acquire(timeout=_ATTENTION)

    def take(self) -> T:
        """Return the result, or raise the error."""
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame


class _Call(_Answer[T]):
    """A coroutine that is run for another thread; ``begun`` says that it has a task.

    The thread of the loop alone holds the task: when a task goes, weak references to it call
    Python, and what a signal handler raises in there is lost.
    """

    __slots__ = ("_coroutine", "_task", "begun")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        super().__init__()
        self.begun = False
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None

    def begin(self) -> None:
        """Run the coroutine, in the thread of the loop."""
        if self.given:
            return  # it was cancelled before
        self.begun = True
        self._task = asyncio.get_running_loop().create_task(self._coroutine)
        self._task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """Cancel it, in the thread of the loop."""
        if self._task is not None:
            self._task.cancel()
        elif not self.given:  # the interrupt was faster than the beginning
            self.fail(_closed())

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._task = None
        if task.cancelled():
            self.fail(
                LifecycleError(
                    "the manager was closed during the call",
                    hint="close it when the threads that use it have ended",
                    outcome=Outcome.UNKNOWN,
                )
            )
        elif (error := task.exception()) is not None:
            self.fail(error)
        else:
            self.give(task.result())


@dataclass(frozen=True, slots=True, eq=False)
class _Service:
    """What a portal has while it is open. The thread knows this, and not the portal."""

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    thread: threading.Thread
    process: int
    waiting: set[_Call[Any]]


class Portal:
    """Runs coroutines in a background thread, and hands their results and errors back.

    Any number of threads may call it at once, also such as have a running event loop. The
    thread is a daemon, and ends by itself when the portal is forgotten: a program that never
    calls :meth:`close` still ends.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()  # opening and closing happen one at a time
        self._service: _Service | None = None

    @property
    def is_open(self) -> bool:
        """Coroutines are run."""
        return self._service is not None

    def open(self, first: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start the thread, unless it runs, and run ``first``; a new thread ends if that fails."""
        self._require_place()
        with self._turn:
            fresh = self._service is None
            if fresh:
                self._start(first)
            try:
                self.call(first())
            except BaseException:
                if fresh:
                    self._stop()
                raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``last`` and end the thread, also if that fails; does nothing when closed.

        What still runs is cancelled. In a forked process there is nothing to close.
        """
        if self._service is not None and self._service.process != os.getpid():
            return
        self._require_place()
        with self._turn:
            if self._service is None:
                return
            try:
                self.call(last())
            finally:
                self._stop()

    def _start(self, first: Callable[[], object]) -> None:
        ready: _Answer[_Service] = _Answer()
        thread = threading.Thread(
            target=_serve, args=(ready, first), name="healthstore", daemon=True
        )
        try:
            thread.start()
            ready.wait()
        except BaseException:
            ready.unwanted = True
            if ready.given:  # else the thread sees that it is unwanted, if it ever begins
                self._service = ready.take()
                self._stop()
            raise
        self._service = ready.take()
        weakref.finalize(self, _abandon, self._service).atexit = False

    def _stop(self) -> None:
        service, self._service = self._service, None
        if service is not None:
            with suppress(RuntimeError):  # the loop has ended before
                service.loop.call_soon_threadsafe(service.stop.set)
            service.thread.join()

    def _require_place(self) -> None:
        service = self._service
        if service is None:
            return
        if service.process != os.getpid():
            raise LifecycleError(
                "the manager was opened in another process: a fork has no part in its thread",
                hint="open a manager of its own in each process, after the fork",
            )
        if service.thread is threading.current_thread():
            raise LifecycleError(
                "the manager's own thread cannot wait for the manager",
                hint="a handler of events only takes note; do the work in another thread",
            )

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end and return its result, or raise its error.

        Whatever interrupts the waiting thread, a KeyboardInterrupt or the exception of a signal
        handler, cancels the coroutine and is raised when that has ended. Raises LifecycleError
        if the portal is closed, is closed meanwhile, or is not of this process.
        """
        call = _Call(coroutine)
        try:
            self._require_place()
            service = self._service
            if service is None:
                raise _closed()
            service.waiting.add(call)
            try:
                _post(service, call.begin)
                call.wait()
            except BaseException:
                if not call.given:  # it is the waiting that was interrupted
                    with suppress(LifecycleError):  # the loop has ended, and the call with it
                        _post(service, call.cancel)
                        call.wait()
                raise
            finally:
                service.waiting.discard(call)
        finally:
            if not call.begun:
                coroutine.close()
        return call.take()

    def run(self, function: Callable[[], T]) -> T:
        """Run a function where the coroutines run, so that it never meets one of them halfway.

        While the portal is closed there are none, and the function runs here.
        """
        service = self._service
        if service is None or service.thread is threading.current_thread():
            return function()
        return self.call(_called(function))

    @contextmanager
    def hold(self, manager: AbstractAsyncContextManager[T]) -> Generator[T, None, None]:
        """Enter an asynchronous context manager, and leave it as the block is left.

        Context variables of the library that it sets are set in the block: in which part of a
        unit it is, say.
        """
        value, within = self.call(_entered(manager))
        tokens = [
            variable.set(given)
            for variable, given in within.items()
            if variable.name.startswith(_OURS) and variable.get(None) is not given
        ]
        try:
            yield value
        except BaseException as error:
            if not self.call(_left(manager, error)):
                raise
        else:
            self.call(_left(manager, None))
        finally:
            for token in tokens:
                with suppress(ValueError):  # it is left in another context, which has its own
                    token.var.reset(token)

    def iterate(self, source: AsyncIterator[T], at_once: int = 100) -> Iterator[T]:
        """Yield what an asynchronous iterator yields, fetched some at once.

        What it had ready when the portal was closed is still yielded, if it has ended.
        """
        while True:
            step = _taken(source, at_once)
            if self.is_open or isinstance(source, AsyncGenerator):
                items, error = self.call(step)
            else:
                items, error = _finished(step)
            yield from items
            if isinstance(error, StopAsyncIteration):
                return
            if error is not None:
                raise error


# --- in the thread -----------------------------------------------------------------------------


def _serve(ready: _Answer[_Service], first: Callable[[], object]) -> None:
    """Run a loop until it is stopped; what ``first`` belongs to lives as long, and ends with it."""
    waiting: set[_Call[Any]] = set()
    try:
        # These two end a loop; who called has been given them, and decides what they end.
        with suppress(SystemExit, KeyboardInterrupt), asyncio.Runner() as runner:
            runner.run(_until_stopped(ready, waiting))
    finally:
        for call in tuple(waiting):
            if not call.given:  # it came too late to begin
                call.fail(_closed())
        del first


async def _until_stopped(ready: _Answer[_Service], waiting: set[_Call[Any]]) -> None:
    stop = asyncio.Event()
    thread, loop = threading.current_thread(), asyncio.get_running_loop()
    ready.give(_Service(loop, stop, thread, os.getpid(), waiting))
    if not ready.unwanted:
        await stop.wait()


async def _called(function: Callable[[], T]) -> T:
    return function()


async def _entered(manager: AbstractAsyncContextManager[T]) -> tuple[T, Context]:
    return await manager.__aenter__(), copy_context()


async def _left(manager: AbstractAsyncContextManager[Any], error: BaseException | None) -> bool:
    if error is None:
        return bool(await manager.__aexit__(None, None, None))
    return bool(await manager.__aexit__(type(error), error, error.__traceback__))


async def _taken(source: AsyncIterator[T], count: int) -> tuple[list[T], Exception | None]:
    """Return up to ``count`` items, and what ended them, if anything did."""
    items: list[T] = []
    try:
        while len(items) < count:
            items.append(await anext(source))
    except Exception as error:  # noqa: BLE001 - raised by who called, behind the items
        return items, error
    return items, None


# --- outside -----------------------------------------------------------------------------------


def _post(service: _Service, function: Callable[[], object]) -> None:
    """Have the thread call a function, in the context of who asks."""
    try:
        service.loop.call_soon_threadsafe(function, context=copy_context())
    except RuntimeError:  # the loop is closed
        raise _closed() from None


def _finished(step: Coroutine[Any, Any, T]) -> T:
    """Return the result of a coroutine that has nothing to wait for."""
    try:
        step.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    step.close()
    raise _closed()


def _abandon(service: _Service) -> None:
    """End the thread of a portal that nobody can close any more; the manager in it says so."""
    if service.process == os.getpid() and not service.loop.is_closed():
        service.loop.call_soon_threadsafe(service.stop.set)


def _closed() -> LifecycleError:
    return LifecycleError(
        "the manager is not open", hint="use it inside `with`, or call open() first"
    )
