"""What may be changed without a look at the rows."""

from __future__ import annotations

from collections.abc import Sequence

from healthstore.errors import SchemaChangeError
from healthstore.model.change.difference import changes_between
from healthstore.model.change.state import Change, ChangeEffect, State
from healthstore.model.schema import Collection

__all__ = ("require_additive", "require_each_additive")


def require_additive(before: Collection, after: Collection) -> None:
    """Raise SchemaChangeError unless the changes from one definition to the other are additive."""
    state: State = {before.name: before}
    effects: list[tuple[Change, ChangeEffect]] = []
    for change in changes_between(before, after):
        effects.append((change, change.effect(state)))
        state = change.after(state)
    require_each_additive(effects)


def require_each_additive(effects: Sequence[tuple[Change, ChangeEffect]]) -> None:
    """Raise SchemaChangeError that names each change that is not additive, and its effect."""
    told = [
        f"{change.collection}: {change} ({effect})"
        for change, effect in effects
        if effect is not ChangeEffect.ADDITIVE
    ]
    if told:
        raise SchemaChangeError(
            f"more than additive changes are needed: {'; '.join(told)}",
            hint="nothing was changed; declare a new field nullable or with a constant default, "
            "or move the data to a new database",
        )
