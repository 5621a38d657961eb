"""The command that writes one migration file in the place of several; no store is asked."""

from __future__ import annotations

from pathlib import Path

from healthstore.cli.exits import Exit
from healthstore.cli.output import Output
from healthstore.cli.schema.revise import path_of, write_new
from healthstore.errors import HealthstoreError, MigrationError
from healthstore.model.change import changes
from healthstore.schema.files import Chain, read_chain
from healthstore.schema.squash import squashed
from healthstore.schema.written import written

__all__ = ("squash_files",)


async def squash_files(
    output: Output, folder: Path, message: str, first: str | None, last: str
) -> int:
    """Write what takes the place of some migrations and, when it is read as they were, remove them."""
    chain = read_chain(folder)
    made = squashed(chain, first, last)
    path = path_of(folder, int(made.names[-1][:4]), message)
    write_new(path, written(message, made.after, made.operations, made.replaces))
    try:
        _require_equal(chain, read_chain(folder), path)
    except HealthstoreError:
        path.unlink()
        raise
    for name in made.names:
        (folder / f"{name}.py").unlink()
        output.show(f"Removed {folder / name}.py")
    output.show(f"Wrote {path}, which takes their place.")
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "schema squash",
            "file": str(path),
            "removed": list(made.names),
            "replaces": list(made.replaces),
        }
    )
    return Exit.OK


def _require_equal(before: Chain, after: Chain, path: Path) -> None:
    """Raise MigrationError unless a chain leads where another one did: files are removed next."""
    same = before.state.keys() == after.state.keys()
    if not same or changes(before.state, tuple(after.state.values())):
        raise MigrationError(
            f"{path.name} would not lead where the files lead that it replaces",
            hint="nothing was changed; please report this",
        )
