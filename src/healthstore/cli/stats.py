"""The command ``stats``: how much each member holds, counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from healthstore.abc.backend import Backend
from healthstore.abc.prober import Figures
from healthstore.build import build_guard
from healthstore.cli.exits import Exit
from healthstore.cli.failures import Failure, failure_of
from healthstore.cli.health import size_of
from healthstore.cli.output import Output
from healthstore.cli.store import Store
from healthstore.errors import HealthstoreError
from healthstore.manager import DatabaseManager
from healthstore.model.ops import CountDocuments
from healthstore.transfer.selection import catalog

__all__ = ("counted", "show_statistics")

_FIGURES_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Counted:
    """A member's documents by collection and its figures, or why there are none."""

    name: str
    figures: Figures | None = None
    documents: dict[str, int] = field(default_factory=dict[str, int])
    trouble: Failure | None = None


async def counted(store: Backend) -> dict[str, int]:
    """Return how many documents each collection has, counted one by one, sorted by name."""
    guarded = build_guard(store)
    collections = sorted((await catalog(store)).values(), key=lambda each: each.name)
    return {each.name: await guarded.execute(CountDocuments(each)) for each in collections}


async def show_statistics(output: Output, store: Store) -> int:
    """Count every collection of every member; exits with 5 if a member cannot be counted."""
    async with store.observed() as db:
        active = db.active
        found = [await _count(db, name) for name in db.members]
    for each in found:
        _show(output, each)
    troubles = [each for each in found if each.trouble]
    for each in troubles:
        if each.trouble:
            output.error(each.trouble)
    code = Exit.UNAVAILABLE if troubles else Exit.OK
    output.result(
        {
            "ok": not troubles,
            "exit": int(code),
            "command": "stats",
            "active": active,
            "members": {each.name: _data(each) for each in found},
        }
    )
    return code


async def _count(db: DatabaseManager, name: str) -> _Counted:
    try:
        store = await db.member(name)
        documents = await counted(store)
        return _Counted(name, await _figures(store), documents)
    except HealthstoreError as error:
        return _Counted(name, trouble=failure_of(error))


async def _figures(store: Backend) -> Figures | None:
    """Return the server's figures; None if they take too long."""
    prober = store.prober()
    try:
        async with asyncio.timeout(_FIGURES_SECONDS):
            await prober.connect()
            return await prober.measure()
    except TimeoutError:
        return None
    finally:
        await prober.close()


def _show(output: Output, found: _Counted) -> None:
    if found.trouble:
        return
    figures = found.figures
    rows = [(name, f"{count:,}") for name, count in found.documents.items()]
    parts = [found.name]
    if figures:
        used = "" if figures.connections is None else f"{figures.connections} connections"
        parts += [figures.server, size_of(figures.bytes), used]
    output.show(", ".join(filter(None, parts)))
    if rows:
        output.table(("collection", "documents "), rows)
    else:
        output.show("There is no collection that healthstore made.")


def _data(found: _Counted) -> dict[str, object]:
    figures = found.figures
    return {
        "server": figures.server if figures else None,
        "bytes": figures.bytes if figures else None,
        "connections": figures.connections if figures else None,
        "documents": None if found.trouble else found.documents,
        "error": found.trouble.message if found.trouble else None,
    }
