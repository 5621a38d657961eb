"""The commands that prepare a store, and that tell how to change who serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.named import find_entity
from healthstore.cli.output import Output
from healthstore.cli.stats import counted
from healthstore.cli.store import Store
from healthstore.errors import HealthstoreError

__all__ = ("initialize_store", "switch_store")


async def initialize_store(output: Output, store: Store, names: Sequence[str]) -> int:
    """Create what the entities need on the active member, and check what is there."""
    entities = [find_entity(name) for name in names]
    async with store.manager() as db:
        ensured = await db.initialize(*entities)
        active = db.active
    rows = [(name, "created") for name in ensured.created]
    rows += [(name, "was there, and is the same") for name in ensured.present]
    output.table(("collection", f"on {active}"), rows)
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "initialize",
            "active": active,
            "created": list(ensured.created),
            "present": list(ensured.present),
        }
    )
    return Exit.OK


async def switch_store(output: Output, store: Store, name: str, *, dry_run: bool) -> int:
    """Say whether another member could become the active one; a command switches nothing."""
    if not dry_run:
        raise CommandError(
            Failure(
                "a command cannot switch the services that run now",
                f"switch {name}",
                f"inside of a service call db.switch({name!r}); for the next start name it first "
                "among the members; --dry-run says whether it is fit",
                "refused",
                Exit.REFUSED,
            )
        )
    async with store.observed() as db:
        await db.health(probe=True)
        report = await db.switch(name, dry_run=True)
        counts = {}
        for member in dict.fromkeys((report.source, report.target)):
            try:
                counts[member] = await counted(await db.member(member))
            except HealthstoreError as error:
                output.note(f"{member} cannot be counted: {error}")
    collections = sorted({each for found in counts.values() for each in found})
    rows = [
        (each, *(f"{found[each]:,}" if each in found else "absent" for found in counts.values()))
        for each in collections
    ]
    if rows:
        output.table(("documents of", *(f"{member} " for member in counts)), rows)
    words = "is possible" if report.possible else "is not possible now"
    output.show(f"{report.source} → {report.target} {words}")
    for reason in report.reasons:
        output.show(f"  {reason}")
    code = Exit.OK if report.possible else Exit.REFUSED
    about = {"ok": report.possible, "exit": int(code), "command": "switch"}
    output.result({**about, **asdict(report), "documents": counts})
    return code
