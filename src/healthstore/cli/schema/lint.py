"""The command ``schema lint``: what is unsafe in migration files; no store is asked."""

from __future__ import annotations

from pathlib import Path

from healthstore.cli.exits import Exit
from healthstore.cli.output import Output
from healthstore.schema.lint import lint

__all__ = ("lint_migrations",)


async def lint_migrations(output: Output, folder: Path, since: str | None) -> int:
    """Show each finding: where, why, and what to do instead."""
    found = lint(folder, since)
    for each in found:
        output.show(str(each))
        output.show(f"    {each.rule.why}")
        output.show(f"    instead: {each.rule.instead}")
    if not found:
        output.show("Nothing unsafe is known of these migrations.")
    code = Exit.FAILURE if found else Exit.OK
    output.result(
        {
            "ok": not found,
            "exit": int(code),
            "command": "schema lint",
            "findings": [
                {
                    "migration": each.migration,
                    "collection": each.collection,
                    "operation": each.operation,
                    "rule": each.rule.name,
                    "backends": each.backends,
                    "why": each.rule.why,
                    "instead": each.rule.instead,
                }
                for each in found
            ],
        }
    )
    return code
