"""The command ``health``: how the members are, once, until they are ready, or all the time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf

from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.output import Output
from healthstore.cli.store import Store
from healthstore.manager import DatabaseManager
from healthstore.routing.report import Health, MemberHealth, Mode

__all__ = ("require_times", "show_health", "size_of", "wait_until_ready", "watch_health")

_LOOK_SECONDS = 0.1  # between two looks, without I/O, at what the checks have found
_KIB = 1024

_EXITS: Mapping[Mode, Exit] = {
    Mode.NORMAL: Exit.OK,
    Mode.READ_ONLY: Exit.FAILURE,
    Mode.MOCK: Exit.FAILURE,
    Mode.DOWN: Exit.UNAVAILABLE,
}


def require_times(wait: float | None, every: float, *, watch: bool) -> None:
    """Raise CommandError for options of ``health`` that cannot be meant."""
    if wait is not None and watch:
        raise _misused("--wait and --watch exclude each other", "give one of them")
    if wait is not None and not 0 <= wait < inf:
        raise _misused("--wait is no time to wait", "seconds, 0 or more")
    if not 0 < every < inf:
        raise _misused("--every is no time between two looks", "seconds, above 0")


def _misused(message: str, hint: str) -> CommandError:
    return CommandError(Failure(message, hint=hint))


async def show_health(output: Output, store: Store) -> int:
    """Check every member once, and show what was found."""
    async with store.observed() as db:
        health = await db.health(probe=True)
    return _told(output, health)


async def wait_until_ready(output: Output, store: Store, seconds: float) -> int:
    """Check until requests are served, for some seconds at most; then show what was found."""
    async with store.observed() as db:
        try:
            async with asyncio.timeout(seconds):
                while not db.ready():  # noqa: ASYNC110 - readiness is a state without an event
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            output.note(f"not ready after {seconds:g} s")
        health = await db.health()
    return _told(output, health)


async def watch_health(output: Output, store: Store, seconds: float) -> int:
    """Show the members again and again, until the process is interrupted.

    A terminal gets a table every so many seconds, everything else a line for each change.
    """
    async with store.observed() as db:
        await db.health(probe=True)
        if output.stdout.isatty() and not output.manners.json:
            return await _redraw(output, db, seconds)
        return await _follow(output, db)


async def _redraw(output: Output, db: DatabaseManager, seconds: float) -> int:
    while not output.gone:
        output.show("\x1b[H\x1b[2J" + f"{_now()}, every {seconds:g} s until Ctrl-C\n")
        _show(output, await db.health())
        await asyncio.sleep(seconds)
    return Exit.OK


async def _follow(output: Output, db: DatabaseManager) -> int:
    said = ""
    while not output.gone:
        health = await db.health()
        line = _line(health)
        if line != said:
            said = line
            output.show(f"{_now()} {line}")
            output.result(_data(health))
        await asyncio.sleep(_LOOK_SECONDS)
    return Exit.OK


def _told(output: Output, health: Health) -> Exit:
    _show(output, health)
    output.result(_data(health))
    return _EXITS[health.mode]


def _data(health: Health) -> dict[str, object]:
    code = _EXITS[health.mode]
    about = {"ok": code is Exit.OK, "exit": int(code), "command": "health"}
    return {**about, **health.as_json()}


def _show(output: Output, health: Health) -> None:
    columns = (
        "member",
        "type",
        "state",
        "writes",
        "ms ",
        "server",
        "size ",
        "documents ",
        "pool ",
    )
    output.table(columns, map(_row, health.members))
    for member in health.members:
        if member.last_error:
            output.show(f"last error of {member.name}: {member.last_error}")
        if member.apart:
            output.show(f"{member.name} does not stand in: {member.apart}")
    output.show(
        f"{health.mode}: reads at {health.reads or 'nobody'}, writes at "
        f"{health.writes or 'nobody'}" + (f"; {health.reason}" if health.reason else "")
    )


def _row(member: MemberHealth) -> tuple[str, ...]:
    figures, pool = member.figures, member.pool
    return (
        member.name,
        member.type,
        str(member.state),
        "yes" if member.writable else "no",
        "" if member.latency is None else f"{member.latency * 1000:.1f}",
        figures.server if figures else "",
        size_of(figures.bytes if figures else None),
        f"{sum(figures.documents.values()):,}" if figures else "",
        f"{pool.in_use} of {pool.size}" if pool else "",
    )


def _line(health: Health) -> str:
    members = ", ".join(f"{each.name} {each.state}" for each in health.members)
    return (
        f"{health.mode}: reads {health.reads or 'nobody'}, writes {health.writes or 'nobody'}"
        f" ({members})"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def size_of(count: int | None) -> str:
    """Return a number of bytes as a person reads it; empty if it is not known."""
    if count is None:
        return ""
    size, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while size >= _KIB and (larger := next(units, "")):
        size, unit = size / _KIB, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
