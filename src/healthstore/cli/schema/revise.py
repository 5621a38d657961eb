"""The commands that write migration files, and hold them against entities; no store is asked."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from healthstore.cli.exits import Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.named import find_all
from healthstore.cli.output import Output
from healthstore.entity import collection_of
from healthstore.errors import InvalidRequestError
from healthstore.model.change import Change, RenameCollection, RenameField, changed, changes
from healthstore.model.schema import Collection
from healthstore.schema.files import read_chain
from healthstore.schema.lint import REQUIRED, lint
from healthstore.schema.renames import PossibleRename, possible_renames, rename_of
from healthstore.schema.written import written

__all__ = ("Answers", "asked", "check_migrations", "path_of", "revise_files", "write_new")


@dataclass(frozen=True, slots=True)
class Answers:
    """What is known of fields that go: given as options, or asked for."""

    dropped: Sequence[str] = ()
    renamed: Sequence[str] = ()
    ask: Callable[[str], bool | None] | None = None
    """Asks at the terminal, as :func:`asked` does; None where there is none."""


def asked(question: str) -> bool | None:
    """Ask at the terminal, no being the default; None if nothing comes any more."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.strip().lower() in {"y", "yes"} if line else None


async def revise_files(
    output: Output, folder: Path, message: str, names: Sequence[str], answers: Answers
) -> int:
    """Write a migration from the files that are there to the entities."""
    chain = read_chain(folder)
    needed = _answered(chain.state, _wanted(names), answers)
    if not needed:
        output.show("The migrations lead to the entities; nothing is to be written.")
        return _told(output, "revise", None, needed)
    last = chain.ids[-1] if chain.links else None
    path = path_of(folder, int(last[:4]) + 1 if last else 1, message)
    write_new(path, written(message, last, needed))
    for each in needed:
        output.show(f"{each.collection}: {each}")
    output.show(f"Wrote {path}. Look at it, and apply it with: healthstore schema upgrade")
    for found in lint(folder, last):
        if found.rule == REQUIRED:  # where rows are there, they refuse it
            output.show(f"{found}: {found.rule.why}; {found.rule.instead}")
    return _told(output, "revise", path, needed)


def path_of(folder: Path, number: int, message: str) -> Path:
    """Return the file of a migration; raise CommandError for a message that cannot name one."""
    words = "_".join(re.findall(r"\w+", message.lower()))[:48].strip("_")
    if not words:
        raise CommandError(
            Failure("the message has no word", f"-m {message!r}", "say what it does")
        )
    return folder / f"{number:04d}_{words}.py"


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:  # never over one that is there
        file.write(text)


async def check_migrations(output: Output, folder: Path, names: Sequence[str]) -> int:
    """Tell whether the files lead to the entities."""
    needed = changes(read_chain(folder).state, _wanted(names))
    if needed:
        rows = [(each.collection, str(each)) for each in needed]
        output.table(("collection", "no migration does this"), rows)
    else:
        output.show("The migrations lead to the entities.")
    code = Exit.BEHIND if needed else Exit.OK
    _told(output, "check", None, needed, code)
    return code


def _wanted(names: Sequence[str]) -> list[Collection]:
    return [collection_of(each) for each in find_all(names)]


def _answered(
    state: Mapping[str, Collection], wanted: Sequence[Collection], answers: Answers
) -> tuple[Change, ...]:
    """Return the changes between, where it is known of each field that goes whether it was renamed.

    Raises CommandError where it is not known, and nobody can be asked.
    """
    given = [rename_of(each) for each in answers.renamed]
    _require_meant(given, wanted)
    renames: list[Change] = [*given]
    refused: set[PossibleRename] = set()
    while True:
        now = changed(state, renames)
        needed = changes(now, wanted)
        open_ = [
            each
            for each in possible_renames(now, needed)
            if each.place not in answers.dropped and each not in refused
        ]
        if not open_:
            return (*renames, *needed)
        first = open_[0]
        answer = answers.ask and answers.ask(f"Was {first.place} renamed to {first.to}?")
        if answer is None:
            raise _unanswered(open_)
        if answer:
            renames.append(first.change)
        else:
            refused.add(first)


def _require_meant(
    renames: Sequence[RenameField | RenameCollection], wanted: Sequence[Collection]
) -> None:
    """Raise InvalidRequestError for a rename to what no entity has: it would be made, and be empty."""
    fields = {each.name: each.by_name for each in wanted}
    moved = {each.to for each in renames if isinstance(each, RenameCollection)}
    for each in renames:
        if isinstance(each, RenameCollection):
            known = each.to in fields
        else:
            known = each.to in fields.get(each.collection, ()) or each.collection in moved
        if not known:
            raise InvalidRequestError(
                f"nothing of the entities is called {each.to!r}, as {each.collection}: {each} says",
                hint="change the entity first; --rename names what it has by now",
            )


def _unanswered(found: Sequence[PossibleRename]) -> CommandError:
    place = found[0].place
    options = [each for each in found if each.place == place]
    return CommandError(
        Failure(
            f"{place} goes: was it renamed to {' or '.join(each.to for each in options)}?",
            place,
            f"if it was, say {' or '.join(f'--rename {each.as_option}' for each in options)}; "
            f"if not, --drop {place}",
            "unanswered",
            Exit.UNANSWERED,
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
