"""Stores whose connection breaks before a chosen step of a change of definitions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.faults.conftest import NewDatabase

from healthstore.abc import Backend, BackendURL
from healthstore.abc.registry import connect
from healthstore.adapters.mongo import schema as mongo_schema
from healthstore.adapters.sql.adapter import SqlAdapter
from healthstore.adapters.sql.dialect import Connection

__all__ = ("Breaks", "lent", "watched")


@asynccontextmanager
async def lent(store: str, new: NewDatabase, folder: Path) -> AsyncGenerator[Backend, None]:
    """Lend an opened adapter over a new database."""
    url = f"sqlite:///{folder}/things.db" if store == "sqlite" else await new(store)
    backend = connect(BackendURL.parse(url), store)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


class _Breaking:
    """A connection of which one statement is not sent: the connection breaks instead."""

    def __init__(self, inner: Connection, step: Callable[[], None]) -> None:
        self._inner = inner
        self._step = step

    async def run(self, sql: str) -> None:
        self._step()
        await self._inner.run(sql)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def watched(monkeypatch: pytest.MonkeyPatch, backend: Backend, step: Callable[[], None]) -> None:
    """Call a function before each statement, or each step, of the backend."""
    if isinstance(backend, SqlAdapter):
        dial = backend.dial

        async def breaking() -> Any:
            return _Breaking(await dial(), step)

        monkeypatch.setattr(backend, "dial", breaking)
        return
    repeated: Callable[..., Awaitable[None]] = mongo_schema._repeated

    async def counted(work: Callable[[], Awaitable[None]], *meanings: Any) -> None:
        step()
        await repeated(work, *meanings)

    monkeypatch.setattr(mongo_schema, "_repeated", counted)


class Breaks:
    """Counts steps, and breaks one of them."""

    def __init__(self) -> None:
        self.left: int | None = None

    def __call__(self) -> None:
        """Take a step, or break it."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise ConnectionResetError
