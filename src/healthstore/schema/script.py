"""Migrations as a script, for who lets somebody else run what changes a database.

It holds what a store would run, and what lets its catalog know. A function is in no script: the
migration that has one is applied by ``upgrade``, and the script says so in its place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from healthstore.errors import CapabilityError
from healthstore.model.catalog import CATALOG
from healthstore.model.change import ChangeEffect, changes_between
from healthstore.model.ops import Alter, Drop, Ensure, Explained, Rename
from healthstore.model.schema import Collection
from healthstore.schema.files import ZERO, Chain
from healthstore.schema.steps import (
    Alteration,
    Creation,
    Narrowing,
    Removal,
    Renaming,
    Rewriting,
    Running,
    Step,
    taken_back,
)

__all__ = ("Asks", "renaming_of", "script")

_Request: TypeAlias = Ensure | Alter | Rename | Drop
Asks: TypeAlias = Callable[[_Request], Awaitable[Explained]]
"""Asks a store, or a kind of one, how it would make a change."""


async def script(chain: Chain, since: int, wanted: int, ask: Asks) -> str:
    """Return what takes a store from one place of a chain to another, up or down.

    Raises CapabilityError for a store whose catalog no statement can change.
    """
    lines: list[str] = []
    if since == 0 < wanted:
        lines += _run((), await ask(Ensure((CATALOG,))))
    place = since
    while place != wanted:
        down = wanted < place
        link = chain.links[place - 1 if down else place]
        last, place = _named(chain, place), place + (-1 if down else 1)
        lines += ["", f"-- {link.id}{': taken back' if down else ''}"]
        steps = taken_back(link.steps) if down else link.steps
        if any(isinstance(each, _BEYOND) for each in steps):
            verb = "downgrade" if down else "upgrade"
            for each in [*link.state.values()][:1]:  # what is no script says so, also at the start
                _require_noted(await ask(Ensure((each,))))
            lines += [
                "-- It gives documents other values, which no script does. When what is above has run:",
                f"-- healthstore schema stamp {last}",
                f"-- healthstore schema {verb} {_named(chain, place)}",
            ]
        else:
            lines += await _migrated(steps, _state(chain, place), ask)
    lines += ["", "-- Afterwards, so that the store knows its migrations:"]
    lines.append(f"-- healthstore schema stamp {_named(chain, wanted)}")
    return "\n".join(lines).strip() + "\n"


_BEYOND = (Narrowing, Rewriting, Running)


def _named(chain: Chain, place: int) -> str:
    return chain.ids[place - 1] if place else ZERO


def _state(chain: Chain, place: int) -> Mapping[str, Collection]:
    return chain.links[place - 1].state if place else {}


async def _migrated(
    steps: list[Step] | tuple[Step, ...], after: Mapping[str, Collection], ask: Asks
) -> list[str]:
    lines: list[str] = []
    moved = False
    for step in steps:
        told = await ask(_request(step))
        _require_noted(told)
        lines += _run(_said(step), told)
        moved = moved or (isinstance(step, Renaming) and step.before.name != step.after.name)
    if moved:
        # What refers to a collection of another name is defined otherwise, too.
        for each in after.values():
            lines += _run((), await ask(Alter(each, each)))
    return lines


def _require_noted(told: Explained) -> None:
    if not told.noting:
        raise CapabilityError(
            "this kind of backend is not changed by a script",
            hint="apply the migrations: healthstore schema upgrade",
        )


def _request(step: Step) -> _Request:
    match step:
        case Creation(made):
            return Ensure(made)
        case Removal(gone):
            return Drop(gone)
        case Renaming(before, after):
            return Rename(before, after)
        case Alteration(before, after):
            return Alter(before, after, ChangeEffect.LOSES_DATA)
        case Narrowing() | Rewriting() | Running():
            raise AssertionError(step)


def _said(step: Step) -> tuple[str, ...]:
    match step:
        case Creation(made):
            return tuple(f"{each.name}: create the collection" for each in made)
        case Removal(gone):
            return (f"{gone.name}: drop the collection",)
        case Alteration(before, after):
            changes = changes_between(before, after)
            return tuple(f"{each.collection}: {each}" for each in changes)
        case Renaming(before):
            return (f"{before.name}: {renaming_of(step)}",)
        case Narrowing() | Rewriting() | Running():
            return ()


def renaming_of(step: Renaming) -> str:
    """Return in words what is called something else."""
    pairs = zip(step.before.names, step.after.names, strict=True)
    names = [f"rename the field {one} to {other}" for one, other in pairs if one != other]
    return names[0] if names else f"rename the collection to {step.after.name}"


def _run(said: tuple[str, ...], told: Explained) -> list[str]:
    before, after = told.around
    alone, together = told.statements[: told.alone], told.statements[told.alone :]
    statements = (*alone, *before, *together, *told.noting, *after)
    return [*(f"-- {each}" for each in said), *(f"{each.strip()};" for each in statements)]
