"""The reference meaning of operations, in plain Python over documents.

The memory adapter is made of these functions, other adapters fall back on them, and the
contract suite holds every backend against them.
"""

from __future__ import annotations

from healthstore.model.evaluate.buckets import (
    BELOW_A_DAY,
    asked_years,
    beyond_time,
    first_covered_day,
    halfway,
    unknown_buckets,
    years_between,
)
from healthstore.model.evaluate.changes import PartChange, with_parts
from healthstore.model.evaluate.documents import (
    broken_check,
    changed_by_id,
    check_document,
    check_version,
    duplicate_key,
    missing_parent,
    out_of_range,
    patched,
    patched_each,
    still_referenced,
)
from healthstore.model.evaluate.filters import (
    matches,
    shows_order,
    sort_documents,
    sorted_whole,
)
from healthstore.model.evaluate.groups import (
    aggregate,
    aggregate_measure,
    fields_of,
    finish_aggregate,
    group_order,
    plan_aggregate,
)
from healthstore.model.evaluate.keys import Key, key_test, keyed, unique_keyed
from healthstore.model.evaluate.leading import begin_alike, leading
from healthstore.model.evaluate.lookups import answered, require_few
from healthstore.model.evaluate.parts import MISSING, column_value, equal_json, part_of, term_value
from healthstore.model.evaluate.positions import groups_after
from healthstore.model.evaluate.rows import begins_alike, ordered, parted, row_definition, taken
from healthstore.model.evaluate.selections import picked, selected

__all__ = (
    "BELOW_A_DAY",
    "MISSING",
    "Key",
    "PartChange",
    "aggregate",
    "aggregate_measure",
    "answered",
    "asked_years",
    "begin_alike",
    "begins_alike",
    "beyond_time",
    "broken_check",
    "changed_by_id",
    "check_document",
    "check_version",
    "column_value",
    "duplicate_key",
    "equal_json",
    "fields_of",
    "finish_aggregate",
    "first_covered_day",
    "group_order",
    "groups_after",
    "halfway",
    "key_test",
    "keyed",
    "leading",
    "matches",
    "missing_parent",
    "ordered",
    "out_of_range",
    "part_of",
    "parted",
    "patched",
    "patched_each",
    "picked",
    "plan_aggregate",
    "require_few",
    "row_definition",
    "selected",
    "shows_order",
    "sort_documents",
    "sorted_whole",
    "still_referenced",
    "taken",
    "term_value",
    "unique_keyed",
    "unknown_buckets",
    "with_parts",
    "years_between",
)
