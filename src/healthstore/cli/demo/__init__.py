"""The command ``demo``: the main promises, proved on this machine in a few seconds."""

from __future__ import annotations

import inspect
import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from healthstore.cli.demo.program import program
from healthstore.cli.demo.stages import Demo
from healthstore.cli.demo.stores import join
from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.output import Output

__all__ = ("demonstrate",)


async def demonstrate(
    output: Output, keep: Path | None, environment: Mapping[str, str] = os.environ
) -> int:
    """Run the demo in a folder that is new, and return 0 only if every line held."""
    started = perf_counter()
    with _folder(keep) as folder:
        async with join(folder, environment) as joined:
            output.show(f"The same program on {', '.join(joined.urls)}:\n")
            output.show(inspect.getsource(program))
            for name, reason in joined.absent.items():
                output.note(f"{name} does not join: {reason}")
            demo = Demo(output, joined.urls, folder)
            await demo.run()
    seconds = perf_counter() - started
    output.show()
    rows = [(each.promise, each.measured, "✔" if each.held else "✘") for each in demo.card.claims]
    output.table(("claim", "measured", ""), rows, title="Score card")
    verdict = "Every line held" if demo.card.held else "Not every line held"
    output.show(f"{verdict}; {seconds:.1f} s." + (f" Files: {keep}" if keep else ""))
    code = Exit.OK if demo.card.held else Exit.MISMATCH
    for each in demo.card.claims:
        if not each.held:
            output.error(Failure(each.promise, each.measured, code="claim", exit=code))
    output.result(
        {
            "ok": demo.card.held,
            "exit": int(code),
            "command": "demo",
            "seconds": round(seconds, 3),
            "stores": list(joined.urls),
            "absent": joined.absent,
            "refused": demo.refused,
            "skipped": demo.skipped,
            "answers": demo.answers,
            "claims": [asdict(each) for each in demo.card.claims],
        }
    )
    return code


@contextmanager
def _folder(keep: Path | None) -> Generator[Path, None, None]:
    """Lend a new folder: the one to keep, or one that is removed."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="healthstore-demo-") as name:
            yield Path(name)
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        hint = "name a folder that does not exist yet, or an empty one"
        raise CommandError(Failure("the folder to keep is not empty", f"--keep {keep}", hint))
    keep.mkdir(parents=True, exist_ok=True)
    yield keep
