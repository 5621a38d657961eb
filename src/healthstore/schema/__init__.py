"""How a store's definitions become those of a program: the changes as values, and plans of them.

``db.schema`` of a manager is a :class:`Schema`.
"""

from __future__ import annotations

from healthstore.model.change import (
    AddCheck,
    AddField,
    AddIndex,
    AddReference,
    AddUnique,
    Change,
    ChangeEffect,
    ChangeField,
    CreateCollection,
    DropCheck,
    DropCollection,
    DropField,
    DropIndex,
    DropReference,
    DropUnique,
    FieldForm,
)
from healthstore.schema.face import Schema
from healthstore.schema.plan import Plan, PlannedChange, plan

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
    "Plan",
    "PlannedChange",
    "Schema",
    "plan",
)
