"""One migration in the place of several: what it does, and the stores that have those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from healthstore.errors import MigrationError
from healthstore.model.change import Change, DropCollection, changes
from healthstore.model.definition import Field
from healthstore.model.ledger import Applied, Book
from healthstore.model.schema import Collection, parents_first
from healthstore.schema.files import Chain, Link
from healthstore.schema.steps import (
    Alteration,
    Creation,
    Narrowing,
    Removal,
    Renaming,
    Rewriting,
)

__all__ = ("Squashed", "adopted", "squashed")


@dataclass(frozen=True, slots=True)
class Squashed:
    """What takes the place of some migrations: ``names`` of files, and all ``replaces`` of ids."""

    after: str | None
    names: tuple[str, ...]
    replaces: tuple[str, ...]
    operations: tuple[Change, ...]


def squashed(chain: Chain, first: str | int | None, last: str | int) -> Squashed:
    """Return what takes the place of the migrations of a chain from one to another.

    Of those from the start on it makes the last definitions: there is no document, so functions
    have nothing to do. A later range is the difference of two states, and MigrationError is raised
    where documents would not end as by its migrations one by one: for functions, renames, and
    what comes and changes, or goes and comes again. So it is for a function of a whole unit, which
    may add documents, in any range.
    """
    start = 0 if first is None else chain.place(first) - 1
    links = chain.links[start : chain.place(last)]
    if start < 0 or len(links) < 2:
        raise MigrationError(
            "fewer than two migrations are named", hint="name the first and the last of several"
        )
    if links[-1].replaces:
        raise MigrationError(
            f"the migration {links[-1].id!r} is in the place of others itself",
            hint="end with a later one",
        )
    before = chain.links[start - 1] if start else None
    state: Mapping[str, Collection] = {} if before is None else before.state
    for each in links:
        _require_plain(each, at_start=before is None)
    if before is not None:
        _require_once(list(_states(state, links)))
    return Squashed(
        None if before is None else before.id,
        tuple(each.id for each in links),
        tuple(name for each in links for name in (*each.replaces, each.id)),
        _difference(state, links[-1].state),
    )


def adopted(place: str, chain: Chain, book: Book, what: str = "store") -> Book:
    """Return what a ledger says, with each migration in the place of those that it replaces.

    Raises MigrationError for a store, named ``place``, that has a part of those; ``what`` it is
    besides a store, such as a backup of one.
    """
    applied = list(book.applied)
    for at, link in enumerate(chain.links):
        replaced = frozenset(link.replaces)
        end = at
        while end < len(applied) and applied[end].id in replaced:
            end += 1
        begun = book.under_way is not None and book.under_way.id in replaced
        # They were one chain: who has the last one has those before it.
        if begun or (end > at and applied[end - 1].id != link.replaces[-1]):
            raise MigrationError(
                f"the {what} has a part of the migrations that {link.id!r} replaces",
                hint=f"take it to {link.replaces[-1]!r} by a release that has their files",
                backend=place,
            )
        if end > at:
            applied[at:end] = [Applied(link.id, link.checksum, applied[end - 1].at)]
    return replace(book, applied=tuple(applied))


def _difference(
    before: Mapping[str, Collection], after: Mapping[str, Collection]
) -> tuple[Change, ...]:
    gone = parents_first(each for name, each in before.items() if name not in after)
    dropped = [DropCollection(each.name) for each in reversed(gone)]
    return (*changes(before, tuple(after.values())), *dropped)


def _require_plain(link: Link, *, at_start: bool) -> None:
    """Raise MigrationError if a migration does what no difference of definitions tells."""
    for step in link.steps:
        match step:
            case Creation() | Removal() | Alteration() | Narrowing(changes=()):
                continue
            case Renaming() | Rewriting() | Narrowing() if at_start:
                continue
            case Renaming():
                raise _refused(f"{link.id!r} renames")
            case Narrowing():
                raise _refused(f"{link.id!r} replaces what does not fit")
            case _:
                raise _refused(f"{link.id!r} has a function")


def _require_once(states: Sequence[Mapping[str, Collection]]) -> None:
    """Raise MigrationError if a field or collection comes and changes, or goes and comes again."""
    before, after = states[0], states[-1]
    for name in sorted(before.keys() & after.keys()):
        if any(name not in each for each in states):
            raise _refused(f"the collection {name!r} goes and comes again")
        for field in after[name].fields:
            found = [each[name].by_name.get(field.name) for each in states]
            place = f"the field {name}.{field.name}"
            if found[0] is not None and None in found:
                raise _refused(f"{place} goes and comes again")
            if found[0] is None and any(_given(each) != _given(field) for each in found if each):
                raise _refused(f"{place} comes and changes")


def _given(field: Field) -> tuple[object, ...]:
    """Return what documents get that are there when a field comes; equal fields may differ in it."""
    return field.type, field.nullable, field.default


def _states(
    before: Mapping[str, Collection], links: Sequence[Link]
) -> Iterator[Mapping[str, Collection]]:
    """Yield the definitions before the first step of some migrations, and after each."""
    state = dict(before)
    yield dict(state)
    for link in links:
        for step in link.steps:
            match step:
                case Creation(made):
                    state |= {each.name: each for each in made}
                case Removal(gone):
                    del state[gone.name]
                case Alteration(_, after):
                    state[after.name] = after
                case _:
                    continue
            yield dict(state)


def _refused(why: str) -> MigrationError:
    return MigrationError(
        f"these migrations cannot be one: {why}",
        hint="squash a range without that; from the start on, no document is there yet",
    )
