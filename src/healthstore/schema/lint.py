"""What is unsafe in migration files while programs serve: found by reading them, without a store.

A finding is no error: a migration may be right for a night without users. A comment in its file
accepts a rule, ``# lint: accept rename-at-once``; comments are no part of a file's checksum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from healthstore.errors import MissingDriverError
from healthstore.model.change import (
    AddCheck,
    AddField,
    AddIndex,
    AddReference,
    AddUnique,
    Change,
    ChangeEffect,
    ChangeField,
    DropField,
    State,
    changes_between,
)
from healthstore.model.ops import Alter, Ensure, Explained
from healthstore.schema.files import Link, read_chain
from healthstore.schema.offline import KINDS, Explains, explaining
from healthstore.schema.plan import request_of
from healthstore.schema.script import renaming_of
from healthstore.schema.steps import (
    Alteration,
    Creation,
    Narrowing,
    Removal,
    Renaming,
    Rewriting,
    Running,
)

__all__ = ("REQUIRED", "RULES", "Finding", "Rule", "lint")

_ACCEPTED = re.compile(r"#\s*lint:\s*accept\s+([\w-]+(?:\s*,\s*[\w-]+)*)")


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for; its name is its heading in the documentation."""

    name: str
    why: str
    instead: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A place in a migration that a rule speaks of."""

    migration: str
    collection: str
    operation: str
    rule: Rule
    backends: tuple[str, ...] = ()
    """The kinds of backends where it is so; none stands for all."""

    def __str__(self) -> str:
        where = f" ({', '.join(self.backends)})" if self.backends else ""
        return f"{self.migration}: {self.collection}: {self.operation}: {self.rule.name}{where}"


REQUIRED = Rule(
    "required-field",
    "rows that are there have no value for it, and programs of the release before write none",
    "add it nullable or with a default, fill it by a Transform, and require it one release later",
)
RENAMED = Rule(
    "rename-at-once",
    "programs of the release before know the old name only: they are refused from then on",
    "add the new field, fill it by a Transform, and drop the old one one release later",
)
DROPPED = Rule(
    "drop-with-transform",
    "programs of the release before are refused from the function on, as long as it takes",
    "drop it in a migration of its own, when none of them serves any more",
)
NARROWER = Rule(
    "narrower-field",
    "rows may stand against it, and programs of the release before may write what does not fit",
    "count them by schema diff, let programs write what fits first, then narrow it",
)
UNPREPARED = Rule(
    "unprepared-key",
    "rows that break it refuse the migration, and no function before it mends them",
    "count them by schema diff, and put a Transform before it",
)
REWRITTEN = Rule(
    "table-rewritten",
    "every row is written again, which takes time, room, and the turn of those who write",
    "apply it when few are there, or split what is dear from what is not",
)
BLOCKING = Rule(
    "blocking-index",
    "writers wait while it is built",
    "apply it when few are there; on PostgreSQL they do not wait for an index that is no unique "
    "key, in a migration after the one that adds or changes its fields",
)
ONE_WAY = Rule(
    "no-way-back",
    "a function without down cannot be taken back, and no downgrade goes beyond it",
    "write down, or know that the way back is a backup",
)
ONCE_ONLY = Rule(
    "not-idempotent",
    "without transactions a function may get a document twice, so a standalone server refuses it",
    "let it do no harm the second time, and say idempotent=True",
)
RULES = (
    REQUIRED,
    RENAMED,
    DROPPED,
    NARROWER,
    UNPREPARED,
    REWRITTEN,
    BLOCKING,
    ONE_WAY,
    ONCE_ONLY,
)

# Where nobody else writes while an index is built.
_BUILT_ALONE = ("sqlite",)
_BUILT_WITHIN = ("postgresql", *_BUILT_ALONE)  # and it is a part of the alteration
_WITHOUT_TRANSACTIONS = ("mongodb",)


def lint(
    directory: str | Path = "migrations", since: str | int | None = None
) -> tuple[Finding, ...]:
    """Return what is unsafe in a folder of migrations, in order; no store is asked.

    ``since`` is a migration after which those come that are looked at. What a change costs is
    told of the kinds of backends whose drivers are installed. Raises MigrationError for files
    that are wrong, or if there is no such migration.
    """
    chain = read_chain(directory)
    first = 0 if since is None else chain.place(since)
    stores = _installed()
    found: list[Finding] = []
    for link in chain.links[first:]:
        text = (chain.folder / f"{link.id}.py").read_text("utf-8")
        accepted = {
            name for names in _ACCEPTED.findall(text) for name in re.split(r"\s*,\s*", names)
        }
        found += [each for each in _found(link, stores) if each.rule.name not in accepted]
    return tuple(found)


def _installed() -> Mapping[str, Explains]:
    found: dict[str, Explains] = {}
    for kind in KINDS:
        try:
            found[kind] = explaining(kind)
        except MissingDriverError:
            continue
    return found


@dataclass(slots=True)
class _Seen:
    """What a migration has done before an operation of it."""

    new: set[str] = field(default_factory=set[str])
    """Collections that it has made: nobody uses them yet."""
    transformed: set[str] = field(default_factory=set[str])
    anything: bool = False
    """Whether a function has run that may have changed any collection."""

    def prepared(self, collection: str) -> bool:
        """Tell whether a function may have changed a collection's documents."""
        return self.anything or collection in self.transformed


def _found(link: Link, stores: Mapping[str, Explains]) -> Iterator[Finding]:
    seen = _Seen()
    for step in link.steps:
        match step:
            case Creation(made):
                seen.new |= {each.name for each in made}
            case Alteration() | Narrowing() if step.before.name not in seen.new:
                meant = step.alteration if isinstance(step, Narrowing) else step
                for change, rule, kinds in _of_changes(meant, seen, stores):
                    yield Finding(link.id, step.after.name, str(change), rule, kinds)
            case Removal(gone) if seen.prepared(gone.name):
                yield Finding(link.id, gone.name, "drop the collection", DROPPED)
            case Renaming(before) if before.name not in seen.new:
                yield Finding(link.id, before.name, renaming_of(step), RENAMED)
            case Rewriting(rows):
                seen.transformed.add(rows.name)
                yield from _of_functions(link, rows.name, "Transform", step)
            case Running():
                seen.anything = True
                yield from _of_functions(link, "the store", "Run", step)
            case _:
                pass


def _of_functions(
    link: Link, place: str, called: str, step: Rewriting | Running
) -> Iterator[Finding]:
    if step.back is None:
        yield Finding(link.id, place, called, ONE_WAY)
    if not step.idempotent:
        yield Finding(link.id, place, called, ONCE_ONLY, _WITHOUT_TRANSACTIONS)


_Told: TypeAlias = tuple[Change, Rule, tuple[str, ...]]


def _of_changes(step: Alteration, seen: _Seen, stores: Mapping[str, Explains]) -> Iterator[_Told]:
    state: State = {step.before.name: step.before}
    made = {step.before.name: step.before}
    for change in changes_between(step.before, step.after):
        worse = change.effect(state) is not ChangeEffect.ADDITIVE
        prepared = seen.prepared(change.collection)
        for rule, kinds in _rules_of(change, worse=worse, prepared=prepared):
            yield change, rule, kinds
        if isinstance(change, AddIndex | AddUnique):
            yield change, BLOCKING, _BUILT_WITHIN if _is_within(step, change) else _BUILT_ALONE
        state = change.after(state)
        request = request_of(made, state[change.collection])
        dear = tuple(each for each in stores if _told(stores[each], request).rewrites)
        if dear:
            yield change, REWRITTEN, dear


def _is_within(step: Alteration, change: AddIndex | AddUnique) -> bool:
    """Tell whether a key is no plain index over fields that stay as they were."""
    if isinstance(change, AddUnique) or change.index.terms:
        return True
    before, after = step.before.by_name, step.after.by_name
    return any(before.get(name) != after[name] for name in change.index.fields)


def _told(store: Explains, request: Ensure | Alter | None) -> Explained:
    return Explained() if request is None else store(request)


def _rules_of(
    change: Change, *, worse: bool, prepared: bool
) -> Iterator[tuple[Rule, tuple[str, ...]]]:
    """Yield the rules that a change breaks by what it is; ``worse`` than additive, that is."""
    if isinstance(change, AddField) and worse:
        yield REQUIRED, ()
    if isinstance(change, DropField) and prepared:
        yield DROPPED, ()
    if isinstance(change, ChangeField) and worse:
        yield NARROWER, ()
    if isinstance(change, AddUnique | AddCheck | AddReference) and not prepared:
        yield UNPREPARED, ()
