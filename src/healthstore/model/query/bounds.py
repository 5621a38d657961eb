"""How large a filter may be: what every database compiles in bearable time."""

from __future__ import annotations

from healthstore.errors import InvalidRequestError
from healthstore.model.query.lookups import lookups, parts_of
from healthstore.model.query.tests import ELEMENTS, Filter, Test

__all__ = (
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "MAX_LOOKUPS",
    "MAX_NODES",
    "MAX_OPERAND_BYTES",
    "MAX_PATTERN",
    "MAX_VALUES",
    "require_moderate",
)

MAX_NODES = 5_000
MAX_DEPTH = 100
MAX_VALUES = 100_000
"""The most values in the lists of one filter together."""
MAX_ELEMENTS = 1_000
"""The most elements of JSON lists that one filter looks for, all of its tests together.

Each is a subquery of its own, for which MariaDB's optimizer takes memory with the square of their
number: 8,000 took more than 20 GiB, over a table of five rows.
"""
MAX_OPERAND_BYTES = 4_000_000
"""The most bytes of text and bytes in one filter together.

Written into a statement, each with escapes and twice, they fit into MySQL's packet of 16 MiB.
"""
MAX_PATTERN = 16_000
"""The most bytes that ``contains`` and ``endswith`` look for, special characters escaped.

MongoDB refuses patterns of more than 32,764 bytes.
"""
MAX_LOOKUPS = 3
"""The most queries inside each other, from a filter to what it looks up, and so on."""


def require_moderate(filter_: Filter) -> None:
    """Raise InvalidRequestError for too many parts or values, or too many levels to compile."""
    level: list[Filter] = [filter_]
    size = depth = values = elements = 0
    while level:
        size += len(level)
        depth += 1
        values += sum(map(_listed, level))
        if values > MAX_VALUES:
            raise InvalidRequestError(
                f"the lists of the filter hold more than {MAX_VALUES} values",
                hint="ask in several requests, each with a part of the values",
            )
        elements += sum(map(_sought, level))
        if elements > MAX_ELEMENTS:
            raise InvalidRequestError(
                f"the filter looks for more than {MAX_ELEMENTS} elements of lists",
                hint="ask in several requests, each with a part of the values",
            )
        if size > MAX_NODES or depth > MAX_DEPTH:
            raise InvalidRequestError(
                f"the filter has more than {MAX_NODES} parts or {MAX_DEPTH} levels",
                hint="use in_() for many values, or several queries",
            )
        level = [item for node in level for item in parts_of(node)]
    if _nested(filter_) > MAX_LOOKUPS:
        raise InvalidRequestError(
            f"more than {MAX_LOOKUPS} queries are inside each other",
            hint="read what the innermost ones find, and pass it to in_() as a list",
        )


def _nested(filter_: Filter) -> int:
    return max((1 + _nested(each.where) for each in lookups(filter_)), default=0)


def _listed(node: Filter) -> int:
    return len(node.operand) if isinstance(node, Test) and isinstance(node.operand, tuple) else 0


def _sought(node: Filter) -> int:
    if not isinstance(node, Test) or node.operator not in ELEMENTS:
        return 0
    return len(node.operand) if isinstance(node.operand, tuple) else 1
