"""The commands that move documents: ``migrate``, ``verify``, ``backup`` and ``restore``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from healthstore.cli.exits import Exit
from healthstore.cli.named import find_entities, stored
from healthstore.cli.output import Output
from healthstore.cli.progress import progress
from healthstore.manager import DatabaseManager
from healthstore.transfer.walk import Moved

__all__ = ("backup_store", "migrate_stores", "restore_store", "verify_stores")


async def migrate_stores(output: Output, source: str, target: str, names: Sequence[str]) -> int:
    """Copy collections from one store to another, and verify them."""
    entities = find_entities(names)
    async with DatabaseManager(members={"source": stored(source), "target": target}) as db:
        with progress(output) as on_event:
            report = await db.migrate("source", "target", entities, on_event=on_event)
    _moved(output, report.collections)
    output.result({"ok": True, "command": "migrate", **asdict(report)})
    return Exit.OK


async def verify_stores(output: Output, left: str, right: str, names: Sequence[str]) -> int:
    """Compare two stores."""
    entities = find_entities(names)
    async with DatabaseManager(members={"left": stored(left), "right": stored(right)}) as db:
        with progress(output) as on_event:
            report = await db.verify("left", "right", entities, on_event=on_event)
    output.result({"ok": True, "command": "verify", **asdict(report)})
    return Exit.OK


async def backup_store(output: Output, url: str, file: Path, names: Sequence[str]) -> int:
    """Write a store to a file."""
    entities = find_entities(names)
    async with DatabaseManager(members={"source": stored(url)}) as db:
        with progress(output) as on_event:
            report = await db.backup(file, entities, on_event=on_event)
    _moved(output, report.collections)
    output.result({"ok": True, "command": "backup", **asdict(report)})
    return Exit.OK


async def restore_store(output: Output, file: Path, url: str, names: Sequence[str]) -> int:
    """Check a file and load it into a store."""
    entities = find_entities(names)
    async with DatabaseManager(members={"target": url}) as db:
        with progress(output) as on_event:
            report = await db.restore(file, entities=entities, on_event=on_event)
    _moved(output, report.collections)
    output.result({"ok": True, "command": "restore", **asdict(report)})
    return Exit.OK


def _moved(output: Output, collections: Iterable[Moved]) -> None:
    rows = [
        (
            each.collection,
            f"{each.rows:,}",
            f"{each.seconds:.2f}",
            f"{each.rows / max(each.seconds, 1e-9):,.0f}",
            each.digest,
        )
        for each in collections
    ]
    output.table(("collection", "rows ", "seconds ", "rows/s ", "digest"), rows)
