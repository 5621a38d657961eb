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
    RenameCollection,
    RenameField,
)
from healthstore.model.definition import Check, Index, Reference, Unique
from healthstore.model.query import F
from healthstore.schema.face import HistoryEntry, Schema
from healthstore.schema.forms import (
    Boolean,
    Bytes,
    Date,
    Duration,
    Enum,
    Float,
    Instant,
    Integer,
    Json,
    Number,
    Text,
    Time,
    Uuid,
)
from healthstore.schema.lint import Finding, Rule, lint
from healthstore.schema.migration import Migration, Run, Transform, collection
from healthstore.schema.plan import Plan, PlannedChange, plan
from healthstore.schema.progress import PageTransformed
from healthstore.schema.reset import ResetReport
from healthstore.schema.running import Documents

__all__ = (
    "AddCheck",
    "AddField",
    "AddIndex",
    "AddReference",
    "AddUnique",
    "Boolean",
    "Bytes",
    "Change",
    "ChangeEffect",
    "ChangeField",
    "Check",
    "CreateCollection",
    "Date",
    "Documents",
    "DropCheck",
    "DropCollection",
    "DropField",
    "DropIndex",
    "DropReference",
    "DropUnique",
    "Duration",
    "Enum",
    "F",
    "FieldForm",
    "Finding",
    "Float",
    "HistoryEntry",
    "Index",
    "Instant",
    "Integer",
    "Json",
    "Migration",
    "Number",
    "PageTransformed",
    "Plan",
    "PlannedChange",
    "Reference",
    "RenameCollection",
    "RenameField",
    "ResetReport",
    "Rule",
    "Run",
    "Schema",
    "Text",
    "Time",
    "Transform",
    "Unique",
    "Uuid",
    "collection",
    "lint",
    "plan",
)
