"""What may be changed without a look at the rows."""

from __future__ import annotations

from collections.abc import Sequence

from healthstore.errors import SchemaChangeError
from healthstore.model.change.difference import changes_between
from healthstore.model.change.state import Change, ChangeEffect, State, worst
from healthstore.model.schema import Collection

__all__ = ("require_at_most", "require_each_at_most")


def require_at_most(before: Collection, after: Collection, allowed: ChangeEffect) -> None:
    """Raise SchemaChangeError if a change from one definition to the other is worse than allowed."""
    state: State = {before.name: before}
    effects: list[tuple[Change, ChangeEffect]] = []
    for change in changes_between(before, after):
        effects.append((change, change.effect(state)))
        state = change.after(state)
    require_each_at_most(effects, allowed)


def require_each_at_most(
    effects: Sequence[tuple[Change, ChangeEffect]], allowed: ChangeEffect = ChangeEffect.ADDITIVE
) -> None:
    """Raise SchemaChangeError that names each change that is worse than allowed, and its effect."""
    told = [
        f"{change.collection}: {change} ({effect})"
        for change, effect in effects
        if worst((effect, allowed)) is not allowed
    ]
    if told:
        raise SchemaChangeError(
            f"more than {allowed} changes are needed: {'; '.join(told)}"
            if allowed is ChangeEffect.ADDITIVE
            else f"changes would lose data: {'; '.join(told)}",
            hint="nothing was changed; let a new field be None, or give it a constant default of "
            "at most 4,000 characters that its own type takes as it is; for other changes write a "
            "migration, or move the data to a new database",
        )
