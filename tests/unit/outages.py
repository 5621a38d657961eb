"""Two SQLite files under one manager, of which a test takes one away and brings it back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from healthstore import DatabaseManager, FailoverPolicy, Probe

QUICK_FIGURES = {
    "interval": 0.05,
    "fast_interval": 0.02,
    "connect_timeout": 0.5,
    "query_timeout": 0.5,
}
QUICK = Probe(**QUICK_FIGURES)  # type: ignore[arg-type] - floats all


def pair(folder: Path, **policy: object) -> DatabaseManager:
    """Return a manager of two SQLite files, checked quickly."""
    chosen = FailoverPolicy(**{"probe": QUICK, **policy})  # type: ignore[arg-type] - tests pass what they mean
    members = {name: f"sqlite:///{folder}/{name}.db" for name in ("primary", "standby")}
    return DatabaseManager(members=members, policy=chosen)


def move(folder: Path, name: str, to: str) -> None:
    """Move a database with its log: it goes first and comes back last, so never without it."""
    suffixes = ("-shm", "-wal", "") if name == "away.db" else ("", "-wal", "-shm")
    for suffix in suffixes:
        if (folder / f"{name}{suffix}").exists():
            (folder / f"{name}{suffix}").rename(folder / f"{to}{suffix}")


async def until(db: DatabaseManager, reads: str | None) -> None:
    """Wait until somebody serves reads."""
    async with asyncio.timeout(10):
        while db.reads != reads:  # noqa: ASYNC110 - the route is a value
            await asyncio.sleep(0.005)
