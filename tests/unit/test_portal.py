"""The portal: coroutines in a background thread, for threads that have no event loop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random

import pytest

from healthstore._portal import Portal
from healthstore.errors import LifecycleError, Outcome


async def nothing() -> None:
    """Do nothing."""


async def one() -> int:
    """Return something."""
    return 1


@pytest.fixture
def portal() -> Iterator[Portal]:
    """Lend an open portal; behind the test it has no thread."""
    before = threading.active_count()
    made = Portal()
    made.open(nothing)
    yield made
    made.close(nothing)
    assert threading.active_count() == before


class TooLongError(Exception):
    """What a server's signal handler raises when a request takes too long."""


@contextmanager
def beside(sender: Callable[[], None], raised: type[BaseException]) -> Generator[None]:
    """Run a thread that sends SIGUSR1 while the block runs; its handler raises this."""

    def handle(*_: object) -> None:
        raise raised

    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=sender)
    try:
        thread.start()
        yield
    finally:
        thread.join(20)
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signals")
@pytest.mark.parametrize("raised", [KeyboardInterrupt, TooLongError, TimeoutError])
def test_an_interrupt_cancels_the_call(portal: Portal, raised: type[BaseException]) -> None:
    """Ctrl-C, or the exception of a signal handler, ends the coroutine before it is raised."""
    begun, ended = threading.Event(), threading.Event()
    caller = threading.get_ident()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)  # a rollback takes its time
            ended.set()

    def interrupt() -> None:
        begun.wait(5)
        # Not before the caller waits: asyncio's wake-up of its loop drops any OSError, which a
        # TimeoutError is, also one that a signal handler raised.
        deadline = time.monotonic() + 5
        while sys._current_frames()[caller].f_code.co_name != "wait":
            assert time.monotonic() < deadline
            time.sleep(0.001)
        signal.pthread_kill(caller, signal.SIGUSR1)

    with beside(interrupt, raised):
        with pytest.raises(raised):
            portal.call(endless())
        assert ended.is_set()
        assert portal.call(one()) == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no such signals")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")  # interrupted before its call
def test_an_interrupt_between_any_two_steps_is_raised_and_breaks_nothing(portal: Portal) -> None:
    """No lock stays locked: each of many alarms comes out, and the calls go on."""
    caller, over = threading.get_ident(), [False]
    ready, heard = threading.Event(), threading.Event()
    random = Random(1)  # noqa: S311 - moments, no secrets

    def storm() -> None:
        ready.wait(10)
        for _ in range(300):
            heard.clear()
            time.sleep(random.uniform(0.0005, 0.003))
            signal.pthread_kill(caller, signal.SIGUSR1)
            if not heard.wait(10):
                break
        else:
            over[0] = True

    with beside(storm, TooLongError):
        while not over[0]:
            try:
                ready.set()
                while not over[0]:
                    assert portal.call(one()) == 1
            except TooLongError:
                heard.set()
        assert portal.call(one()) == 1


def test_a_call_that_is_under_way_at_close_is_told(portal: Portal) -> None:
    """A thread that waits while another closes gets an error that leaves the outcome open."""
    errors: list[BaseException] = []
    begun = threading.Event()

    async def endless() -> None:
        begun.set()
        await asyncio.sleep(3600)

    def work() -> None:
        try:
            portal.call(endless())
        except LifecycleError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(5)
    portal.close(nothing)
    thread.join(5)
    (error,) = errors
    assert isinstance(error, LifecycleError)
    assert error.outcome is Outcome.UNKNOWN


def test_a_call_sees_the_context_of_its_caller(portal: Portal) -> None:
    """A context variable, such as a trace, is that of the thread that calls."""
    variable: ContextVar[str] = ContextVar("variable", default="none")

    async def read() -> str:
        return variable.get()

    variable.set("mine")
    assert portal.call(read()) == "mine"


def test_a_refused_coroutine_is_closed(recwarn: pytest.WarningsRecorder) -> None:
    """A call on a closed portal leaves no coroutine that was never awaited."""
    with pytest.raises(LifecycleError):
        Portal().call(nothing())
    gc.collect()
    assert not recwarn.list


def test_calls_race_with_open_and_close() -> None:
    """Every call either runs or raises LifecycleError; none waits for ever."""
    portal = Portal()
    stop = threading.Event()

    def call() -> tuple[int, int]:
        done = refused = 0
        while not stop.is_set():
            try:
                done += portal.call(one())
            except LifecycleError:
                refused += 1
                time.sleep(0.0005)
        return done, refused

    with ThreadPoolExecutor(4) as pool:
        counts = [pool.submit(call) for _ in range(4)]
        for _ in range(20):
            portal.open(nothing)
            time.sleep(0.002)
            portal.close(nothing)
        stop.set()
        totals = [each.result(timeout=10) for each in counts]
    assert all(done for done, _ in totals)
    assert all(refused for _, refused in totals)


def test_the_end_of_the_loop_is_no_end_of_the_program() -> None:
    """A coroutine that exits ends the thread, and the calls after it say that it is closed."""

    async def leave() -> None:
        raise SystemExit(3)

    portal = Portal()
    portal.open(nothing)
    with pytest.raises(SystemExit):
        portal.call(leave())
    service = portal._service
    assert service is not None
    service.thread.join(5)
    with pytest.raises(LifecycleError):
        portal.call(nothing())
    with pytest.raises(LifecycleError):
        portal.close(nothing)
    assert not portal.is_open
