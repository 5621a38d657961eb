"""Which program may use a store that has gone on: the rule for old and new code at once."""

from __future__ import annotations

from healthstore.model.catalog import closing
from healthstore.model.change import AddField, AddIndex, ChangeField, DropCheck, DropIndex
from healthstore.model.change.difference import changes_between
from healthstore.model.change.state import ChangeEffect, State
from healthstore.model.schema import Collection
from healthstore.model.values import Document

__all__ = ("admits", "serves")


def admits(row: Document, known: Collection) -> bool:
    """Tell whether a row of a catalog lets a program of a definition that it has, or serves, in.

    A collection that a migration is about to change lets in whom it serves afterwards, too.
    """
    found = closing(row)
    if found is None:
        return True
    (after,) = found
    return after is not None and (after == known or serves(after, known))


def serves(stored: Collection, known: Collection) -> bool:
    """Tell whether a stored collection serves a program that knows it by an earlier definition.

    It does if it differs only by fields that the program does not know and that are nullable or
    have a default, by wider fields, other indexes, and checks that were dropped. Not by members of
    an enum or nulls that the program could not read, and not by keys that it counts on.
    """
    state: State = {known.name: known}
    for change in changes_between(known, stored):
        match change:
            case AddIndex() | DropIndex() | DropCheck():
                pass
            case AddField():
                if change.effect(state) is not ChangeEffect.ADDITIVE:
                    return False
            case ChangeField(_, name, form):
                was = known.field(name)
                if (
                    change.effect(state) is not ChangeEffect.ADDITIVE
                    or form.nullable is not was.nullable
                    or form.type.choices != was.type.choices
                ):
                    return False
            case _:
                return False
        state = change.after(state)
    return True
