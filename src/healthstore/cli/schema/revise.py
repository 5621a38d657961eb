"""The commands that write migration files, and hold them against entities; no store is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.named import find_all
from healthstore.cli.output import Output
from healthstore.entity import collection_of
from healthstore.model.change import AddField, Change, DropField, changes
from healthstore.schema.files import Chain, read_chain
from healthstore.schema.written import written

__all__ = ("check_migrations", "revise_files")


async def revise_files(
    output: Output, folder: Path, message: str, names: Sequence[str], dropped: Sequence[str]
) -> int:
    """Write a migration from the files that are there to the entities."""
    chain, needed = _needed(folder, names)
    _require_no_renames(chain, needed, dropped)
    if not needed:
        output.show("The migrations lead to the entities; nothing is to be written.")
        return _told(output, "revise", None, needed)
    last = chain.ids[-1] if chain.links else None
    number = int(last[:4]) + 1 if last else 1
    words = "_".join(re.findall(r"\w+", message.lower()))[:48].strip("_")
    if not words:
        raise CommandError(
            Failure("the message has no word", f"-m {message!r}", "say what it does")
        )
    path = folder / f"{number:04d}_{words}.py"
    _write(path, written(message, last, needed))
    for each in needed:
        output.show(f"{each.collection}: {each}")
    output.show(f"Wrote {path}. Look at it, and apply it with: healthstore schema upgrade")
    return _told(output, "revise", path, needed)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:  # never over one that is there
        file.write(text)


async def check_migrations(output: Output, folder: Path, names: Sequence[str]) -> int:
    """Tell whether the files lead to the entities."""
    _, needed = _needed(folder, names)
    if needed:
        rows = [(each.collection, str(each)) for each in needed]
        output.table(("collection", "no migration does this"), rows)
    else:
        output.show("The migrations lead to the entities.")
    code = Exit.BEHIND if needed else Exit.OK
    _told(output, "check", None, needed, code)
    return code


def _needed(folder: Path, names: Sequence[str]) -> tuple[Chain, tuple[Change, ...]]:
    chain = read_chain(folder)
    wanted = [collection_of(each) for each in find_all(names)]
    return chain, changes(chain.state, wanted)


def _require_no_renames(chain: Chain, needed: Sequence[Change], dropped: Sequence[str]) -> None:
    """Raise CommandError where a field may have been renamed, and nobody has said it was not."""
    gone = [each for each in needed if isinstance(each, DropField)]
    new = [each for each in needed if isinstance(each, AddField)]
    for one, other in product(gone, new):
        was = chain.state[one.collection].field(one.name).type
        place = f"{one.collection}.{one.name}"
        alike = one.collection == other.collection and was.kind is other.form.type.kind
        if alike and place not in dropped:
            raise CommandError(
                Failure(
                    f"{place} goes and {other.collection}.{other.name} comes: was it renamed?",
                    place,
                    f"if not, say --drop {place}; if it was, write a migration with AddField, "
                    "Transform and DropField, and nothing is lost",
                    "refused",
                    Exit.REFUSED,
                )
            )


def _told(
    output: Output,
    command: str,
    path: Path | None,
    needed: Sequence[Change],
    code: Exit = Exit.OK,
) -> int:
    output.result(
        {
            "ok": code is Exit.OK,
            "exit": int(code),
            "command": f"schema {command}",
            "file": None if path is None else str(path),
            "operations": [{"collection": each.collection, "change": str(each)} for each in needed],
        }
    )
    return code
