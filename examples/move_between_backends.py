"""Move a store to another backend, prove that nothing changed, back it up, and restore it.

    python examples/move_between_backends.py [TARGET_URL]

Without a URL the target is in memory; a target that is named must be empty.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from healthstore import DatabaseManager, Digits, Entity, MaxLength, Unique
from healthstore.errors import BackupCorruptError
from healthstore.transfer import PageMoved, TransferEvent


class Food(Entity, collection="foods"):
    """A food with what it holds in 100 g."""

    name: Annotated[str, Unique(), MaxLength(200)]
    iron_mg: Annotated[Decimal, Digits(10, 4)] | None = None


class Meal(Entity, collection="meals"):
    """What was eaten on a day."""

    day: date
    foods: list[str]


def show(event: TransferEvent) -> None:
    """Print how far a transfer is."""
    if isinstance(event, PageMoved):
        print(f"  {event.stage} {event.collection}: {event.done} of {event.total}")


async def fill(db: DatabaseManager) -> None:
    """Add some documents."""
    await db.initialize(Food, Meal)
    foods = [Food(name="Lentils", iron_mg=Decimal("7.5400")), Food(name="Water")]
    await db.repository(Food).add_many(foods)
    start = date(2026, 1, 1)
    await db.repository(Meal).add_many(
        Meal(day=start + timedelta(days=number), foods=["Lentils"] * (number % 3))
        for number in range(1_000)
    )


async def main(target: str) -> None:
    """Move, verify, back up, damage, restore."""
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "old.db", Path(folder) / "restored.db"
        members = {
            "old": f"sqlite:///{old}",
            "new": target,
            "restored": f"sqlite:///{new}",
        }
        async with DatabaseManager(members=members) as db:
            await fill(db)

            moved = await db.migrate("old", "new", on_event=show)
            print(f"moved {moved.rows} documents, read back and equal: {moved.verified}")
            (await db.verify("old", "new")).require()  # raises if one field of one differs

            backup = Path(folder) / "backup.json"
            written = await db.backup(backup, source="new")
            print(f"wrote {written.size} bytes, SHA-256 {written.sha256[:12]}…")

            damaged = Path(folder) / "damaged.json"
            damaged.write_bytes(backup.read_bytes().replace(b"7.5400", b"7.5401"))
            try:
                await db.restore(damaged, into="restored")
            except BackupCorruptError as error:
                print(f"refused: {error.message}")
            else:
                raise SystemExit("a damaged backup was accepted")

            await db.restore(backup, into="restored")
            (await db.verify("old", "restored")).require()
            print("the restored store equals the first one")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "memory://"))
