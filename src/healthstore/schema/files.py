"""Migration files: a folder of Python files, each of which follows another one.

A file is named ``0001_what_it_does.py`` and holds ``migration = Migration(after=…, …)``; its id is
its name without ``.py``. Files are one chain: each is after one other, and the first after none.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from traceback import extract_tb
from typing import Any, cast

from healthstore.errors import ConfigurationError, HealthstoreError, MigrationError
from healthstore.model.change import (
    AddCheck,
    AddField,
    AddIndex,
    AddReference,
    AddUnique,
    ChangeField,
    CreateCollection,
    DropCheck,
    DropCollection,
    DropField,
    DropIndex,
    DropReference,
    DropUnique,
    FieldForm,
    RenameCollection,
    RenameField,
)
from healthstore.model.definition import Check, Index, Reference, Unique
from healthstore.model.schema import Collection
from healthstore.schema.migration import Migration, Run, Transform, refused
from healthstore.schema.steps import Step, steps_of

__all__ = ("HEAD", "ZERO", "Chain", "Link", "read_chain")

HEAD = "head"
ZERO = "zero"
_NAME = re.compile(r"(\d{4})_\w+")


@dataclass(frozen=True, slots=True)
class Link:
    """One migration of a folder: what it does, and the definitions after it.

    ``checksum`` is that of the file's syntax tree, so comments, formatting and line ends do not
    count, and the docstring does not either. ``replaces`` are the ids whose place it takes.
    """

    id: str
    checksum: str
    steps: tuple[Step, ...]
    state: Mapping[str, Collection]
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chain:
    """The migrations of a folder, each after the one before."""

    folder: Path
    links: tuple[Link, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in order."""
        return tuple(each.id for each in self.links)

    @property
    def state(self) -> Mapping[str, Collection]:
        """The definitions after the last migration, by name."""
        return self.links[-1].state if self.links else {}

    def place(self, target: str | int) -> int:
        """Return how many migrations lead to a target: a number, an id, ``head`` or ``zero``.

        Raises MigrationError if there is no such migration.
        """
        text = str(target)
        if text == HEAD:
            return len(self.links)
        if text == ZERO:
            return 0
        for place, each in enumerate(self.ids, 1):
            if text == each or (text.isdecimal() and int(text) == int(each[:4])):
                return place
        close = get_close_matches(text, self.ids, n=1)
        raise MigrationError(
            f"there is no migration {text!r} in {self.folder}",
            hint=f"did you mean {close[0]!r}?"
            if close
            else "a target is a number, an id, 'head' or 'zero'",
        )


def read_chain(folder: str | Path) -> Chain:
    """Return the migrations of a folder; none if there is no folder.

    Each file is run by itself, in a namespace of its own. Those whose place another one takes are
    passed over. Raises MigrationError for a file that cannot be read or does not define a
    migration, for one that follows none of the others, for two that follow the same one, and for
    an operation that does not fit what comes before it.
    """
    path = Path(folder)
    files = sorted(path.glob("*.py")) if path.is_dir() else []
    read = {each.stem: _read(each) for each in files if not each.stem.startswith("_")}
    replaced = {old for name, (each, _) in read.items() for old in each.replaces if old != name}
    found = {name: each for name, each in read.items() if name not in replaced}
    links: list[Link] = []
    state: Mapping[str, Collection] = {}
    for name in _in_order(path, {name: migration for name, (migration, _) in found.items()}):
        migration, checksum = found[name]
        try:
            steps, state = steps_of(state, migration)
        except HealthstoreError as error:
            raise refused(name, error) from None
        links.append(Link(name, checksum, tuple(steps), state, tuple(migration.replaces)))
    return Chain(path, tuple(links))


def _in_order(folder: Path, found: Mapping[str, Migration]) -> Sequence[str]:
    followers: dict[str | None, list[str]] = {}
    # What was after the last one that another one replaces is after that.
    ends: dict[str | None, str] = {
        each.replaces[-1]: name for name, each in found.items() if each.replaces
    }
    for name, each in found.items():
        after = ends.get(each.after, each.after)
        if after is not None and after not in found:
            raise MigrationError(
                f"the migration {name!r} is after {after!r}, which is not in {folder}",
                hint="bring the file back, or let it follow another one",
            )
        followers.setdefault(after, []).append(name)
    for after, names in followers.items():
        if len(names) > 1:
            told = " and ".join(map(repr, sorted(names)))
            place = "are the first" if after is None else f"are after {after!r}"
            raise MigrationError(
                f"the migrations {told} {place}", hint="let one of them follow the other"
            )
    ordered: list[str] = []
    last: str | None = None
    while last in followers:
        (last,) = followers[last]
        ordered.append(last)
    if len(ordered) < len(found):
        lost = ", ".join(sorted(found.keys() - set(ordered)))
        raise MigrationError(
            f"migrations follow each other in a circle: {lost}", hint="the first is after none"
        )
    numbers = [name[:4] for name in ordered]
    for one, other in pairwise(numbers):
        if one >= other:
            raise MigrationError(
                f"the migration numbered {other} is after the one numbered {one}",
                hint="number files in the order in which they follow each other",
            )
    return ordered


def _read(path: Path) -> tuple[Migration, str]:
    if not _NAME.fullmatch(path.stem):
        raise MigrationError(
            f"{path.name} is no name of a migration", hint="name it as in 0001_first_release.py"
        )
    try:
        text = path.read_text("utf-8")
        tree = ast.parse(text)
        namespace: dict[str, Any] = {"__name__": f"healthstore_migration_{path.stem}"}
        exec(compile(text, str(path), "exec"), namespace)  # noqa: S102 - the program's own file
    except HealthstoreError as error:
        raise refused(path.stem, error) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a file may fail in any way
        raise MigrationError(
            f"the migration {path.stem!r} cannot be read: {type(error).__name__} {_place(error, path)}",
            hint=f"python {path} says more",
        ) from None
    migration = namespace.get("migration")
    if not isinstance(migration, Migration):
        raise MigrationError(
            f"{path.name} defines no migration",
            hint="write migration = Migration(after=…, operations=[…])",
        )
    _require_operations(path.stem, migration)
    return migration, _checksum(tree)


def _require_operations(name: str, migration: Migration) -> None:
    """Raise MigrationError for what is no operation, or has a part of another kind."""
    after: object = migration.after
    if after is not None and not isinstance(after, str):
        raise MigrationError(
            f"the migration {name!r}: what it is after is no id",
            hint='write after="0003_add_phone", or leave it out for the first one',
        )
    operations: object = migration.operations
    if not isinstance(operations, list | tuple):
        raise MigrationError(
            f"the migration {name!r}: its operations are no list", hint="write operations=[…]"
        )
    for place, each in enumerate(cast("list[object]", operations), 1):
        if type(each) not in _OPERATIONS:
            raise MigrationError(
                f"the migration {name!r}: operation {place} is a {type(each).__name__}",
                hint="use the operations of healthstore.schema",
            )
        for part in fields(cast(Any, each)):
            wanted = _PARTS.get(part.name)
            value = getattr(each, part.name)
            if wanted is not None and not isinstance(value, wanted):
                raise MigrationError(
                    f"the migration {name!r}: the {part.name} of operation {place}, "
                    f"{type(each).__name__}, is a {type(value).__name__}",
                    hint=f"give it a {wanted.__name__}"
                    + (": Text(100), Integer(), …" if wanted is FieldForm else ""),
                )
        if isinstance(each, ChangeField) and each.replaces:
            try:
                _ = each.instead
            except ConfigurationError as error:
                raise MigrationError(
                    f"the migration {name!r}: the otherwise of operation {place}, ChangeField, "
                    "does not fit its form",
                    hint=error.hint,
                ) from None


_OPERATIONS = frozenset(
    {
        *(AddCheck, AddField, AddIndex, AddReference, AddUnique, ChangeField),
        *(CreateCollection, DropCheck, DropCollection, DropField, DropIndex),
        *(DropReference, DropUnique, RenameCollection, RenameField, Run, Transform),
    }
)
_PARTS: Mapping[str, type] = {
    "check": Check,
    "collection": str,
    "definition": Collection,
    "field": str,
    "form": FieldForm,
    "index": Index,
    "name": str,
    "reference": Reference,
    "to": str,
    "unique": Unique,
}


def _place(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f"in line {error.lineno}"
    lines = [each.lineno for each in extract_tb(error.__traceback__) if each.filename == str(path)]
    return f"in line {lines[-1]}" if lines else ""


def _checksum(tree: ast.Module) -> str:
    body = tree.body
    if body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        tree = ast.Module(body[1:], [])
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
