"""What is said when nobody serves: who is down, what is known about it, and what to do."""

from __future__ import annotations

from typing import NoReturn

from healthstore.errors import (
    Condition,
    ConfigurationError,
    HealthstoreError,
    IncompleteStoreError,
    ReadOnlyError,
    UnavailableError,
)
from healthstore.routing.machine import MOCK, Route
from healthstore.routing.roster import Roster

__all__ = ("no_writes", "nobody", "without_copy")


def nobody(roster: Roster, route: Route) -> NoReturn:
    """Raise the error for a read that nobody serves."""
    active = roster.route.active
    kind = UnavailableError if roster.incomplete(active) is None else IncompleteStoreError
    raise kind(f"no member serves reads: {route.reason}", hint=_advice(roster), backend=active)


def no_writes(roster: Roster, route: Route) -> NoReturn:
    """Raise the error for a write that is not taken now."""
    if route.reads is None:
        nobody(roster, route)
    raise ReadOnlyError(
        f"writes are refused: {route.reason}; reads go on at {route.reads}",
        hint=_advice(roster),
        backend=route.active,
    )


def without_copy(roster: Roster, error: ConfigurationError) -> HealthstoreError:
    """Return the error of a read; at a standby a missing collection means: no copy there."""
    name, active = error.backend, roster.route.active
    if name in {None, active, MOCK} or error.condition is not Condition.OK:
        return error
    return UnavailableError(
        f"{name} stands in for {active} and has no copy of this",
        hint=f"initialize and copy it: db.migrate({active!r}, {name!r})",
        entity=error.entity,
        backend=name,
    )


def _advice(roster: Roster) -> str:
    """Say what was found at the active member, what to do about it, and about the call."""
    active = roster.route.active
    found = roster.trouble(active)
    said = [] if found is None else [part for part in (found.reason, found.remedy) if part]
    if roster.incomplete(active) is not None:
        return "; ".join(said)
    apart = {name: why for name in roster.members if (why := roster.apart(name))}
    said += [f"{name} does not stand in: {why}" for name, why in apart.items()]
    wait = "; ".join((*said, "repeat it when the active member is up again"))
    others = [name for name in roster.members if name != active and name not in apart]
    return f"{wait}, or switch to {' or '.join(others)}" if others else wait
