"""Switching: another member becomes the active one, if nothing would be missing there.

And what is asked before a member is switched to, emptied or rebuilt: that it is there, and meant,
and that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from healthstore.abc.backend import Backend
from healthstore.config.settings import Profile
from healthstore.errors import (
    ConfigurationError,
    HealthstoreError,
    InvalidRequestError,
    UnavailableError,
    VerificationError,
)
from healthstore.routing.failover import Failover
from healthstore.transfer import lag, verify

__all__ = (
    "Switch",
    "SwitchReport",
    "bring_back",
    "require_confirmed",
    "require_durable",
    "require_member",
)


@dataclass(frozen=True, slots=True)
class SwitchReport:
    """What a switch did or, of a dry run, could do. Writes waited for ``seconds``."""

    source: str
    target: str
    possible: bool
    reasons: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Switch:
    """A change of the active member from ``source`` to ``target``.

    ``two`` lends two open members by name. The target must have every document of the source
    or, not ``with_documents``, the same counts, versions and latest changes. With ``force``, a
    source that is not up is not compared.
    """

    failover: Failover
    two: Callable[[str, str], Awaitable[tuple[Backend, Backend]]]
    source: str
    target: str
    with_documents: bool
    force: bool

    async def run(self, obstacles: Iterable[str] = (), *, dry_run: bool) -> SwitchReport:
        """Switch or, in a dry run, only find out whether that is possible.

        ``obstacles`` are known already. Raises UnavailableError if the target is not fit,
        VerificationError if it is behind; a dry run reports that instead.
        """
        try:
            await self._require_fit(obstacles)
            begun = self.failover.writes_begun(self.source)
            await self._require_current(with_documents=self.with_documents)
            if dry_run:
                return SwitchReport(self.source, self.target, possible=True)

            async def require_current() -> None:
                wrote = self.failover.writes_begun(self.source) != begun
                await self._require_current(with_documents=self.with_documents and wrote)

            seconds = await self.failover.changes.switch(self.target, require_current)
        except HealthstoreError as error:
            if not dry_run:
                raise
            return SwitchReport(self.source, self.target, possible=False, reasons=(error.message,))
        return SwitchReport(self.source, self.target, possible=True, seconds=seconds)

    async def _require_fit(self, obstacles: Iterable[str]) -> None:
        await self.failover.member(self.target)
        found = [*await self.failover.changes.obstacles(self.target, force=self.force), *obstacles]
        if found:
            raise UnavailableError("; ".join(found), hint="look at its health", backend=self.target)

    async def _require_current(self, *, with_documents: bool) -> None:
        if self.force and not self.failover.serves(self.source):
            return
        ends = await self.two(self.source, self.target)
        differences = await lag(*ends)
        if not differences and with_documents:
            report = await verify(*ends)
            differences = [
                f"{self.target} has other documents of {each.collection}"
                for each in report.collections
                if not each.equal
            ]
        if differences:
            raise VerificationError(
                f"{self.target} is behind: {'; '.join(differences)}",
                hint=f"copy it first, for example with "
                f"db.migrate({self.source!r}, {self.target!r})",
                backend=self.target,
            )


async def bring_back(failover: Failover, *, dry_run: bool) -> SwitchReport:
    """Let the active member serve again, where failback is manual or it was in quarantine."""
    name, route = failover.name, failover.route
    if not dry_run and not route.reads == route.writes == name:
        await failover.changes.bring_back()
    return SwitchReport(name, name, possible=True)


def require_member(name: str, members: Sequence[str]) -> None:
    """Raise ConfigurationError unless this is the name of a member."""
    if not isinstance(name, str):
        raise InvalidRequestError("a member is named by a text", hint=f"members: {members}")
    if name not in members:
        close = get_close_matches(name, members, n=1)
        raise ConfigurationError(
            f"there is no member {name!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"members: {', '.join(members)}",
        )


def require_confirmed(name: str, confirm: str | None, profile: Profile) -> None:
    """Raise InvalidRequestError unless a member may be emptied: in production by its name only."""
    wanted = {name} if profile is Profile.PRODUCTION else {name, None}
    if confirm not in wanted:
        raise InvalidRequestError(
            f"that every document of {name} is to be removed is not confirmed",
            hint=f"nothing was removed; if it is meant, say confirm={name!r}",
            backend=name,
        )


def require_durable(members: Mapping[str, Backend]) -> None:
    """Raise ConfigurationError if one of the members to be rebuilt would lose its data."""
    for name, member in members.items():
        if not member.capabilities.durable:
            raise ConfigurationError(
                f"{name} keeps its data in this process: rebuilt, it would be empty",
                hint="leave its settings, or start a new manager",
                backend=name,
            )
