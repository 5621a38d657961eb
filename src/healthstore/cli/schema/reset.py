"""The command that takes a store to nothing and back, after what goes was counted."""

from __future__ import annotations

from pathlib import Path

from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.output import Output
from healthstore.cli.store import Store
from healthstore.errors import InvalidRequestError
from healthstore.manager import DatabaseManager
from healthstore.schema.reset import ResetReport, require_no_production

__all__ = ("reset_store",)


async def reset_store(output: Output, store: Store, folder: Path, said: str | None) -> int:
    """Show what the active member holds and, if its name is said, reset it."""
    settings = store.whole_settings()
    name = settings.members[0].name
    try:
        require_no_production(name, settings.profile)
    except InvalidRequestError as error:
        raise _refused(error.message, name, error.hint) from None
    if said != name:
        async with store.observed(settings) as db:
            _tell(output, await db.schema.reset(name, folder, dry_run=True))
        raise _refused(
            f"that everything in {name} is to be removed is not confirmed",
            name if said is None else f"--yes {said}",
            f"nothing was changed; if it is meant, say --yes {name}",
        )
    async with DatabaseManager.from_settings(settings) as db:
        _tell(output, await db.schema.reset(name, folder, dry_run=True))
        report = await db.schema.reset(name, folder)
        current = await db.schema.current()
    for each in report.applied:
        output.show(f"applied: {each}")
    output.show(f"{name} was reset, and is at {current or 'zero'}.")
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "schema reset",
            "member": name,
            "rows": report.rows,
            "collections": dict(report.collections),
            "done": list(report.applied),
            "current": current,
        }
    )
    return Exit.OK


def _tell(output: Output, planned: ResetReport) -> None:
    rows = [(each, f"{count:,}") for each, count in planned.collections.items()]
    if rows:
        output.table(("collection", "documents that go "), rows)
    else:
        output.show(f"{planned.store} has no collection.")


def _refused(message: str, where: str, hint: str) -> CommandError:
    return CommandError(Failure(message, where, hint, "refused", Exit.REFUSED))
