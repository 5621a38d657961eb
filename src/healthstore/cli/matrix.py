"""``healthstore matrix``: what runs of the contract have proven, claim by claim."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path

from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.output import Output
from healthstore.testing.matrix import read_runs

__all__ = ("show_matrix",)

_MOST = 20  # gaps, or lines that differ, that are named


async def show_matrix(
    output: Output, files: Sequence[Path], backends: Sequence[str], page: Path | None
) -> int:
    """Show the page of these records, or compare it with one that there is."""
    run = read_runs(files).only(backends)
    gaps = list(run.gaps())
    for gap in gaps[:_MOST]:
        output.note(gap)
    if gaps or not run.proofs:
        raise CommandError(
            Failure(
                f"not proven: {len(gaps)} of what the tests claim" if gaps else "nothing is proven",
                hint="record a run of the whole contract on each of these backends",
                code="matrix",
                exit=Exit.FAILURE,
            )
        )
    made = run.matrix()
    if page is None:
        output.show(made.page().rstrip("\n"))
    elif differing := _differences(page, made.page()):
        for line in differing[:_MOST]:
            output.note(line)
        raise CommandError(
            Failure(
                "the page is not what was proven",
                where=str(page),
                hint="write it anew: healthstore matrix FILE... > PAGE",
                code="matrix",
                exit=Exit.MISMATCH,
            )
        )
    else:
        output.show(f"{page} is what was proven, on {', '.join(run.absent)}")
    output.result({"ok": True, "exit": int(Exit.OK), "claims": made.cells()})
    return Exit.OK


def _differences(page: Path, proven: str) -> list[str]:
    """Return the lines of a page that were not proven, and those that were instead."""
    there = page.read_text("utf-8")
    lines = unified_diff(there.splitlines(True), proven.splitlines(True), n=0)
    return [each.rstrip("\n") for each in lines if not each.startswith(("---", "+++", "@@"))]
