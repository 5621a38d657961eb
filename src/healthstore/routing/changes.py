"""Changes while requests go on: another active member, other backends in members' places."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import KW_ONLY, dataclass, field

from healthstore.abc.backend import Backend
from healthstore.errors import Condition, UnavailableError
from healthstore.events import Event, Switched
from healthstore.routing.health import Checks
from healthstore.routing.roster import Roster
from healthstore.routing.traffic import Gate, Traffic

__all__ = ("Changes",)


@dataclass(frozen=True, slots=True)
class Changes:
    """What changes the roster of a failover; one change at a time.

    ``traffic`` and ``seconds`` are those of each member's requests, ``gate`` holds writes back,
    and ``opening`` keeps members from being opened meanwhile. ``require_open`` raises
    LifecycleError when the failover is closed.
    """

    roster: Roster
    traffic: dict[str, Traffic]
    gate: Gate
    seconds: dict[str, float]
    opening: Mapping[str, asyncio.Lock]
    emit: Callable[[Event], None]
    _: KW_ONLY
    open_member: Callable[[str], Awaitable[None]]
    require_open: Callable[[], None]
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    async def obstacles(self, target: str, *, force: bool = False) -> list[str]:
        """Check a member now and return why it cannot become the active one; [] if it can."""
        self.require_open()
        found = await self.roster.check(target)
        self.require_open()  # still open
        if found.condition is not Condition.OK:
            return [f"{target} is not fit to take writes: {found.reason}"]
        active = self.roster.route.active
        if self.roster.apart(target):
            await self.roster.check(active)  # it may have been changed since it was looked at
            self.require_open()  # still open
        if apart := self.roster.apart(target):
            return [f"{target} is of another release than {active}: {apart}"]
        if not force and not self.roster.serves_reads(active):
            return [f"{active} is not up: what it acknowledged may be missing (force=True)"]
        return []

    async def switch(self, target: str, require_current: Callable[[], Awaitable[None]]) -> float:
        """Make a member the active one; return the seconds that writes waited.

        Writes are held back, those under way and open units end, and what ``require_current``
        raises, or longer waiting than the policy's ``drain``, leaves everything as it was.
        Reads never stop.
        """
        self.require_open()
        async with self._changing:
            source = self.roster.route.active
            if source == target:
                return 0.0  # somebody else was faster
            started = asyncio.get_running_loop().time()
            self.gate.close()
            try:
                traffic = self.traffic[self.roster.route.writes or source]
                if not await traffic.drained(self.roster.policy.drain, reads=False):
                    raise _too_long(f"writes or units at {source} did not end")
                try:
                    async with asyncio.timeout(self.roster.policy.drain):
                        await require_current()
                except TimeoutError:
                    raise _too_long(f"{target} was not compared") from None
                self.require_open()  # still open
                self.roster.take_over(target)
            finally:
                self.gate.open()
            seconds = asyncio.get_running_loop().time() - started
        self.emit(Switched(source, target, seconds))
        return seconds

    async def bring_back(self) -> None:
        """Let the active member serve again, whatever kept it from that: an operator has looked.

        It is opened anew first, so that nothing of the trouble is left. Raises UnavailableError
        if it is not fit.
        """
        self.require_open()
        active = self.roster.route.active
        async with self._changing:
            async with self.opening[active]:
                if active in self.roster.opened:
                    self.roster.opened.discard(active)
                    await self.roster.members[active].close()
            await self.open_member(active)
            obstacles = await self.obstacles(active, force=True)
            if obstacles:
                raise UnavailableError("; ".join(obstacles), hint="look at its health")
            self.require_open()  # still open
            self.roster.take_over(active)

    async def exchange(self, members: Mapping[str, Backend], seconds: Mapping[str, float]) -> None:
        """Put other backends in members' places; their requests have these ``seconds`` from now on.

        Those in place of open ones are opened first, unless the member is down: nothing changes
        if one cannot be. The old ones are closed when their requests have ended, or at the end
        of the policy's ``drain``.
        """
        self.require_open()
        async with self._changing, AsyncExitStack() as retired, AsyncExitStack() as locks:
            for name in members:
                await locks.enter_async_context(self.opening[name])
            needed = {name for name in members if self.roster.is_open(name)}
            async with AsyncExitStack() as fresh:
                for name in needed:
                    await members[name].open()
                    fresh.push_async_callback(members[name].close)
                self.require_open()  # still open
                fresh.pop_all()
            for name, member in members.items():
                old, traffic = self.roster.members[name], self.traffic[name]
                self.traffic[name] = Traffic(name, begun=traffic.begun)
                checks = self.roster.exchange(name, member, opened=name in needed)
                retired.push_async_callback(self._retire, old, traffic, checks)
            self.seconds.update(seconds)

    async def _retire(self, member: Backend, traffic: Traffic, checks: Checks | None) -> None:
        """Close a backend that is no member any more, when its requests have ended."""
        stops = [member.close()] if checks is None else [checks.stop(), member.close()]
        try:
            await traffic.drained(self.roster.policy.drain, reads=True)
        finally:
            await asyncio.shield(asyncio.gather(*stops))


def _too_long(said: str) -> UnavailableError:
    return UnavailableError(f"{said} within the drain time", hint="repeat it, or raise drain")
