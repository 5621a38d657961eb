"""The commands that take a store up and down by migration files, and tell where it is."""

from __future__ import annotations

from pathlib import Path

from healthstore.cli.exits import Exit
from healthstore.cli.output import Output
from healthstore.cli.progress import progress
from healthstore.cli.store import Store

__all__ = ("downgrade_store", "stamp_store", "tell_current", "tell_history", "upgrade_store")


async def upgrade_store(
    output: Output, store: Store, target: str, folder: Path, *, allow_loss: bool, pause: float
) -> int:
    """Apply migrations to the active member."""
    async with store.manager() as db:
        with progress(output) as on_event:
            done = await db.schema.upgrade(
                target, folder, allow_loss=allow_loss, pause=pause, on_event=on_event
            )
        if not done and not await db.schema.history(folder):
            output.show(_none(folder))
        return _told(output, "upgrade", done, await db.schema.current(), "applied")


async def downgrade_store(
    output: Output,
    store: Store,
    target: str | None,
    folder: Path,
    *,
    allow_loss: bool,
    pause: float,
) -> int:
    """Take migrations of the active member back."""
    async with store.manager() as db:
        with progress(output) as on_event:
            done = await db.schema.downgrade(
                target, folder, allow_loss=allow_loss, pause=pause, on_event=on_event
            )
        return _told(output, "downgrade", done, await db.schema.current(), "taken back")


async def tell_current(output: Output, store: Store) -> int:
    """Show the last migration that the active member has."""
    async with store.observed() as db:
        current = await db.schema.current()
    output.show(current or "no migration")
    output.result(
        {"ok": True, "exit": int(Exit.OK), "command": "schema current", "current": current}
    )
    return Exit.OK


async def tell_history(output: Output, store: Store, folder: Path) -> int:
    """Show the migrations, and when each was applied."""
    async with store.observed() as db:
        found = await db.schema.history(folder)
    times = {
        each.id: None if each.applied is None else each.applied.isoformat(timespec="seconds")
        for each in found
    }
    under_way = [each.id for each in found if each.under_way]
    if times:
        rows = [
            (each, "under way" if each in under_way else at or "not applied")
            for each, at in times.items()
        ]
        output.table(("migration", "applied"), rows)
    else:
        output.show(_none(folder))
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "schema history",
            "migrations": [
                {"id": each, "applied": at, "under_way": each in under_way}
                for each, at in times.items()
            ],
        }
    )
    return Exit.OK


async def stamp_store(output: Output, store: Store, target: str, folder: Path) -> int:
    """Note that the active member has migrations."""
    async with store.manager() as db:
        await db.schema.stamp(target, folder)
        return _told(output, "stamp", (), await db.schema.current(), "")


def _none(folder: Path) -> str:
    return f"There is no migration in {folder}."


def _told(
    output: Output, command: str, done: tuple[str, ...], current: str | None, how: str
) -> int:
    for each in done:
        output.show(f"{how}: {each}")
    output.show(f"The store is at {current or 'zero'}.")
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": f"schema {command}",
            "done": list(done),
            "current": current,
        }
    )
    return Exit.OK
