"""The commands that move documents: ``migrate``, ``verify``, ``backup`` and ``restore``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeAlias

from healthstore.cli.exits import Exit
from healthstore.cli.failures import Failure
from healthstore.cli.named import find_entities, stored, there
from healthstore.cli.output import Output
from healthstore.cli.progress import progress
from healthstore.cli.store import TRANSFER
from healthstore.errors import VerificationError
from healthstore.manager import DatabaseManager
from healthstore.transfer import (
    BackupReport,
    Comparison,
    MigrationReport,
    Moved,
    RestoreReport,
    VerificationReport,
)

__all__ = ("backup_store", "migrate_stores", "restore_store", "verify_stores")


Report: TypeAlias = BackupReport | MigrationReport | RestoreReport | VerificationReport
_DIFFERENT = Failure(
    "the stores differ",
    hint="--json names the documents and the fields",
    code=VerificationError.code,
    exit=Exit.MISMATCH,
)
_NAMED = 5  # ids of each sort that are shown; the object of --json has more


async def migrate_stores(
    output: Output, source: str, target: str, names: Sequence[str], *, replace: bool = False
) -> int:
    """Copy collections from one store to another, and verify them."""
    entities = find_entities(names)
    async with DatabaseManager(
        members={"source": stored(source), "target": target}, policy=TRANSFER
    ) as db:
        with progress(output) as on_event:
            report = await db.migrate(
                "source", "target", entities, replace=replace, on_event=on_event
            )
    _moved(output, report.collections)
    return _finish(output, "migrate", report)


async def verify_stores(output: Output, left: str, right: str, names: Sequence[str]) -> int:
    """Compare two stores."""
    entities = find_entities(names)
    async with DatabaseManager(
        members={"left": stored(left), "right": stored(right)}, policy=TRANSFER
    ) as db:
        with progress(output) as on_event:
            report = await db.verify("left", "right", entities, on_event=on_event)
    rows = [
        (
            each.collection,
            *(_count(count) for count in (each.left_rows, each.right_rows)),
            f"{each.missing_count:,}",
            f"{each.extra_count:,}",
            f"{each.changed_count:,}",
            "=" if each.equal else "≠",
        )
        for each in report.collections
    ]
    columns = ("collection", "rows in A ", "rows in B ", "missing ", "extra ", "changed ", "")
    output.table(columns, rows)
    for words in report.unfinished:
        output.show(words)
    for each in report.collections:
        _differences(output, each)
    if report.equal:
        return _finish(output, "verify", report)
    output.error(_DIFFERENT)
    return _finish(output, "verify", report, _DIFFERENT.exit)


async def backup_store(output: Output, url: str, file: Path, names: Sequence[str]) -> int:
    """Write a store to a file."""
    entities = find_entities(names)
    async with DatabaseManager(members={"source": stored(url)}, policy=TRANSFER) as db:
        with progress(output) as on_event:
            report = await db.backup(file, entities, on_event=on_event)
    _moved(output, report.collections)
    return _finish(output, "backup", report)


async def restore_store(
    output: Output,
    file: Path,
    url: str,
    names: Sequence[str],
    *,
    migrations: Path | None,
    allow_loss: bool,
) -> int:
    """Check a file and load it into a store, through migrations if a folder of them is given."""
    entities, backup = find_entities(names), there(file)  # before a new store is made for nothing
    async with DatabaseManager(members={"target": url}, policy=TRANSFER) as db:
        with progress(output) as on_event:
            report = await db.restore(
                backup,
                entities=entities,
                migrations=migrations,
                allow_loss=allow_loss,
                on_event=on_event,
            )
    _moved(output, report.collections)
    for each in report.migrated:
        output.show(f"applied {each}")
    return _finish(output, "restore", report)


def _finish(output: Output, command: str, report: Report, code: Exit = Exit.OK) -> Exit:
    data = {"rows": report.rows, **asdict(report)}
    output.result({"ok": code is Exit.OK, "exit": int(code), "command": command, **data})
    return code


def _differences(output: Output, compared: Comparison) -> None:
    """Name the first documents that differ, and the fields; ids are no values of fields."""
    for words in compared.definition:
        output.show(f"{compared.collection}: {words}")
    sides = (("only in A", compared.missing), ("only in B", compared.extra))
    for words, identities in sides:
        for identity in identities[:_NAMED]:
            output.show(f"{compared.collection} {identity}: {words}")
    for change in compared.changed[:_NAMED]:
        output.show(f"{compared.collection} {change.id}: {', '.join(change.fields)}")


def _count(rows: int | None) -> str:
    return "absent" if rows is None else f"{rows:,}"


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
