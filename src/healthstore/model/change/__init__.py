"""Changes of a definition as values: what each one makes of it, and what it may do to rows.

A change works on a state: definitions by the names of their collections. They are not checked on
the way, since between two changes an index may name a field that is to come; :func:`changed`
makes checked collections of what comes out, and :func:`changes` finds the changes between two.
"""

from __future__ import annotations

from healthstore.model.change.additive import require_at_most, require_each_at_most
from healthstore.model.change.collections import CreateCollection, DropCollection
from healthstore.model.change.difference import changes, changes_between
from healthstore.model.change.fields import AddField, ChangeField, DropField, FieldForm, Unfit
from healthstore.model.change.keys import (
    AddCheck,
    AddIndex,
    AddReference,
    AddUnique,
    DropCheck,
    DropIndex,
    DropReference,
    DropUnique,
)
from healthstore.model.change.renames import (
    RenameCollection,
    RenameField,
    names_between,
    with_names,
)
from healthstore.model.change.state import Change, ChangeEffect, State, changed, worst

__all__ = (
    "AddCheck",
    "AddField",
    "AddIndex",
    "AddReference",
    "AddUnique",
    "Change",
    "ChangeEffect",
    "ChangeField",
    "CreateCollection",
    "DropCheck",
    "DropCollection",
    "DropField",
    "DropIndex",
    "DropReference",
    "DropUnique",
    "FieldForm",
    "RenameCollection",
    "RenameField",
    "State",
    "Unfit",
    "changed",
    "changes",
    "changes_between",
    "names_between",
    "require_at_most",
    "require_each_at_most",
    "with_names",
    "worst",
)
