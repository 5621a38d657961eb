"""Filters and orders: what they mean, and the normal form that adapters compile.

Logic is two-valued: a filter either holds for a document or it does not, and ``f`` and ``~f``
divide the documents in two. ``None`` is an ordinary value for ``==``, ``!=`` and ``in_``; an
ordered or textual comparison with a field that is ``None`` does not hold. Two fields of a row
are compared as a field and a value: both ``None`` is equal, and an ordered comparison holds for
no ``None``. ``None`` sorts before every other value. Text is compared by code point, and sorted
by its first ``SORTED_TEXT`` ones: no database sorts texts of any length at a bearable price.

A field looked up in what another query finds is one looked up in a list of those values.

:func:`normalise` turns any filter into one that needs no null logic below the seam: negations
are moved to the tests, and a test in the result never holds for a field that is null (except
``IS_NULL``). SQL's third truth value and MongoDB's ``$ne`` then give the same answer. A part of
JSON has more to it than null: of its tests only those remain that look for something, and a
negation stands around such a test, as ``Not``, where whatever does not hold is false.
"""

from __future__ import annotations

from healthstore.model.query.bounds import (
    MAX_DEPTH,
    MAX_ELEMENTS,
    MAX_LOOKUPS,
    MAX_NODES,
    MAX_OPERAND_BYTES,
    MAX_PATTERN,
    MAX_VALUES,
    require_moderate,
)
from healthstore.model.query.lookups import lookups, substituted
from healthstore.model.query.names import (
    F,
    FieldName,
    FieldPart,
    FieldSize,
    FieldTerm,
    field,
    name_of,
)
from healthstore.model.query.normal import normalise
from healthstore.model.query.order import (
    Nulls,
    Order,
    SortKey,
    after,
    asc,
    desc,
    parse_keys,
    parse_order,
)
from healthstore.model.query.parts import (
    MAX_KEY,
    MAX_PART_VALUES,
    MAX_PLACE,
    MAX_STEPS,
    TERM_HEAD,
    TERM_TYPES,
    WHOLE,
    WORDS,
    FieldOrTerm,
    Part,
    Step,
    Term,
    column_key,
)
from healthstore.model.query.tests import (
    ALL,
    ELEMENTS,
    MATCHING,
    NEGATED,
    NONE,
    ORDERED,
    PLURAL,
    TEXTUAL,
    And,
    Condition,
    Filter,
    Lookup,
    Not,
    Operator,
    Or,
    OtherField,
    Test,
    fields_in,
    walk,
)

__all__ = (
    "ALL",
    "ELEMENTS",
    "MATCHING",
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "MAX_KEY",
    "MAX_LOOKUPS",
    "MAX_NODES",
    "MAX_OPERAND_BYTES",
    "MAX_PART_VALUES",
    "MAX_PATTERN",
    "MAX_PLACE",
    "MAX_STEPS",
    "MAX_VALUES",
    "NEGATED",
    "NONE",
    "ORDERED",
    "PLURAL",
    "TERM_HEAD",
    "TERM_TYPES",
    "TEXTUAL",
    "WHOLE",
    "WORDS",
    "And",
    "Condition",
    "F",
    "FieldName",
    "FieldOrTerm",
    "FieldPart",
    "FieldSize",
    "FieldTerm",
    "Filter",
    "Lookup",
    "Not",
    "Nulls",
    "Operator",
    "Or",
    "Order",
    "OtherField",
    "Part",
    "SortKey",
    "Step",
    "Term",
    "Test",
    "after",
    "asc",
    "column_key",
    "desc",
    "field",
    "fields_in",
    "lookups",
    "name_of",
    "normalise",
    "parse_keys",
    "parse_order",
    "require_moderate",
    "substituted",
    "walk",
)
