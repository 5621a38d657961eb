"""Checks: one task for each member, on a connection of its own, with a deadline for each step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

from healthstore.abc.backend import Backend
from healthstore.abc.prober import Figures, Vitals
from healthstore.errors import (
    Condition,
    ConfigurationError,
    HealthstoreError,
    UnavailableError,
)
from healthstore.model.release import Release
from healthstore.routing.patience import patiently
from healthstore.routing.policy import Probe

__all__ = ("Checks", "Finding", "Sightings")

T = TypeVar("T")
_log = logging.getLogger("healthstore.health")
_ASKED = 10  # who asks for figures waits so many times longer for them than a check would
_SMOOTHING = 0.2  # weight of the newest latency


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check, which ``began`` at a time of the loop's clock.

    ``reason`` carries no value and no secret; ``remedy`` says what to do, where that is known;
    ``release`` is what the member's catalog says, if the check has looked at it.
    """

    condition: Condition
    reason: str = ""
    began: float = 0.0
    remedy: str = ""
    release: Release | None = None


@dataclass(frozen=True, slots=True)
class Sightings:
    """What the checks of a member last saw; ``latency`` is in seconds, smoothed."""

    latency: float | None = None
    last_ok: datetime | None = None
    last_error: str | None = None
    figures: Figures | None = None


class Checks:
    """Checks a member now and then, and whenever it is woken.

    ``report`` gets every finding. ``admit`` runs after each good check, before it is reported:
    what it raises makes the check a bad one. ``hurried`` tells whether checks are to follow
    each other quickly.
    """

    def __init__(  # noqa: PLR0913 - each is another thing the checks must know
        self,
        member: Backend,
        probe: Probe,
        *,
        report: Callable[[Finding], None],
        admit: Callable[[], Awaitable[None]],
        hurried: Callable[[], bool],
        random: Random | None = None,
    ) -> None:
        self.seen = Sightings()
        self._prober = member.prober()
        self._probe = probe
        self._report = report
        self._admit = admit
        self._hurried = hurried
        self._random = random or Random()  # noqa: S311 - spreads checks in time
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._done = 0
        self._measured: float | None = None
        self._canary = probe.canary_every > 0
        self._task: asyncio.Task[None] | None = None

    def start(self, *, at_once: bool) -> None:
        """Start the task; its first check comes at once, or after an interval."""
        if at_once:
            self._wake.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the task and drop the connection."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
        await self._prober.close()

    def silence(self) -> None:
        """Report nothing any more."""
        self._report = _unheard

    def wake(self) -> None:
        """Make the next check come at once."""
        self._wake.set()

    async def once(self, *, write: bool = False, measure: bool = False) -> Finding:
        """Check the member now, report the finding and return it.

        With ``write`` the check includes a durable write; with ``measure`` the figures are
        taken anew.
        """
        async with self._lock:
            began = asyncio.get_running_loop().time()
            try:
                finding = replace(await self._check(write=write), began=began)
                if finding.condition in _ANSWERS and (measure or self._due()):
                    await self._measure(_ASKED if measure else 1)
            except BaseException:
                await self._prober.close()
                raise
        self._report(finding)
        return finding

    async def _run(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        took, failed = 0.0, False
        while not task.cancelling():  # a driver may have dropped it: once is enough
            # From the start of the last check: one that waited for an answer need not wait more.
            pause = max(self._pause() - took, 0.0)
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass  # nobody woke it: it is time
            self._wake.clear()
            started, before = loop.time(), failed
            finding = await self.once()
            took = loop.time() - started
            failed = finding.condition not in _ANSWERS
            if failed and not before:
                self._wake.set()  # the second check comes at once: one lost packet is no outage

    def _pause(self) -> float:
        probe = self._probe
        seconds = probe.fast_interval if self._hurried() else probe.interval
        return seconds * (1 + probe.jitter * self._random.uniform(-1, 1))

    async def _check(self, *, write: bool) -> Finding:
        probe, loop = self._probe, asyncio.get_running_loop()
        self._done += 1
        write = write or (self._canary and self._done % probe.canary_every == 0)
        try:
            await _within(probe.connect_timeout, self._prober.connect, "connection")
            started = loop.time()
            vitals = await _within(probe.query_timeout, self._prober.check, "answer")
            self._timed(loop.time() - started)
            finding = _finding(vitals)
            if write and vitals.writable:
                await self._write()
            await self._admit()
        except HealthstoreError as error:
            await self._prober.close()
            finding = _finding_of(error)
        if finding.condition in _ANSWERS:
            self.seen = replace(self.seen, last_ok=datetime.now(UTC))
        if finding.reason:
            self.seen = replace(self.seen, last_error=finding.reason)
        return finding

    async def _write(self) -> None:
        try:
            await _within(self._probe.query_timeout, self._prober.write, "write")
        except ConfigurationError as error:
            # The user may read and write documents, but make no collection: that is no outage.
            self._canary = False
            _log.warning("checks of %s cannot write: %s", error.backend, error.message)

    async def _measure(self, patience: float) -> None:
        """Take the figures; a failure is not a finding: they may simply take too long."""
        self._measured = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._probe.query_timeout * patience):
                figures = await self._prober.measure()
        except (HealthstoreError, TimeoutError) as error:
            _log.debug("no figures: %s", type(error).__name__)
            await self._prober.close()
            return
        self.seen = replace(self.seen, figures=figures)

    def _due(self) -> bool:
        every = self._probe.figures_every
        if every <= 0:
            return False
        return self._measured is None or (
            asyncio.get_running_loop().time() - self._measured >= every
        )

    def _timed(self, seconds: float) -> None:
        old = self.seen.latency
        latency = seconds if old is None else old + _SMOOTHING * (seconds - old)
        self.seen = replace(self.seen, latency=latency)


def _unheard(finding: Finding) -> None:
    """Take a finding that nobody wants to hear."""


_ANSWERS = frozenset(
    {Condition.OK, Condition.READ_ONLY, Condition.OVERLOADED, Condition.INCOMPLETE}
)


async def _within(seconds: float, step: Callable[[], Awaitable[T]], wanted: str) -> T:
    """Run a step of a check within its time."""
    try:
        return await patiently(seconds, step)
    except TimeoutError:
        raise UnavailableError(f"no {wanted} within {seconds:g} s") from None


def _finding(vitals: Vitals) -> Finding:
    if vitals.filling is not None:
        return Finding(Condition.INCOMPLETE, str(vitals.filling), remedy=vitals.filling.remedy)
    if vitals.writable:
        return Finding(Condition.OK, release=vitals.release)
    reason = vitals.reason or "it accepts no writes"
    return Finding(Condition.READ_ONLY, reason, release=vitals.release)


def _finding_of(error: HealthstoreError) -> Finding:
    # A check is no caller who can be mistaken: whatever fails is a finding.
    condition = Condition.SUSPECT if error.condition is Condition.OK else error.condition
    return Finding(condition, f"{error.code} {error.message}", remedy=error.hint)
