"""Cursors: what the engine needs to go on, by the number that the client knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .engine import Engine, Link
from .errors import CommandError
from .transactions import Key

__all__ = ("Cursor", "Cursors")

IDLE_SECONDS: Final = 600.0  # cursorTimeoutMillis of MongoDB
PINNED: Final = 30  # links that cursors may keep, half of the pool
CURSOR_NOT_FOUND: Final = 43
CURSOR_IN_USE: Final = 143


@dataclass(slots=True)
class Cursor:
    """One open cursor."""

    number: int
    database: str
    session: bytes | None
    continuation: bytes
    link: Link | None = None
    """The link that holds its portal; None if the continuation is enough."""
    transaction: Key | None = None
    timer: asyncio.TimerHandle | None = None
    busy: bool = False


class Cursors:
    """All open cursors."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open: dict[int, Cursor] = {}

    def add(self, cursor: Cursor) -> None:
        """Open a cursor, or go on waiting with it; the oldest idle one may have to give way."""
        cursor.busy = False
        self._open.pop(cursor.number, None)
        if cursor.link is not None:
            pinned = [other for other in self._open.values() if other.link is not None]
            idle = [other for other in pinned if not other.busy]
            if len(pinned) >= PINNED and idle:
                self.close(idle[0])
        self._open[cursor.number] = cursor
        cursor.timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.close, cursor)

    def take(self, number: int) -> Cursor:
        """Lend a cursor to one getMore. Raises CommandError 43 or 143."""
        cursor = self._open.get(number)
        if cursor is None:
            raise CommandError(CURSOR_NOT_FOUND, f"cursor id {number} not found")
        if cursor.busy:
            raise CommandError(CURSOR_IN_USE, f"cursor id {number} is in use")
        cursor.busy = True
        if cursor.timer is not None:
            cursor.timer.cancel()
        return cursor

    def close(self, cursor: Cursor) -> None:
        """Close a cursor and clear the link that it kept."""
        self._open.pop(cursor.number, None)
        if cursor.timer is not None:
            cursor.timer.cancel()
        if cursor.link is not None:
            self._engine.start(self._engine.recycle(cursor.link))
            cursor.link = None

    def kill(self, numbers: Iterable[int]) -> tuple[list[int], list[int]]:
        """Close these; return which were open and which were not."""
        killed: list[int] = []
        missing: list[int] = []
        for number in numbers:
            cursor = self._open.get(number)
            if cursor is None or cursor.busy:
                missing.append(number)
            else:
                self.close(cursor)
                killed.append(number)
        return killed, missing

    def end_sessions(self, sessions: Iterable[bytes] | None) -> None:
        """Close what these sessions have open; None means all."""
        ended = None if sessions is None else set(sessions)
        for cursor in list(self._open.values()):
            if not cursor.busy and (ended is None or cursor.session in ended):
                self.close(cursor)

    def end_transaction(self, key: Key) -> None:
        """Close what a transaction has open; its link is not theirs to clear."""
        for cursor in list(self._open.values()):
            if cursor.transaction == key:
                self.close(cursor)
