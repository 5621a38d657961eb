"""How a store answers a query: its own plan, without any value."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("PRIMARY", "QueryPlan")

PRIMARY = "id"
"""How a plan names what finds documents by their ids; each database has a name of its own."""


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """How a store would answer a query, as it says itself. Nothing of it holds a value.

    What a store does not tell is None.
    """

    statement: str
    """What is sent, with places for the values."""
    index: str | None = None
    """The name of the index that is used: as in ``collection.index_names``, or ``"id"``."""
    rows: int | None = None
    """How many rows or documents the planner believes to look at, or to find."""
    scan: bool | None = None
    """Whether nothing but the limit keeps it from reading the whole collection, or the index."""
    sort: bool | None = None
    """Whether what is found is sorted afterwards, all or in part."""
    native: str = ""
    """What the store said, with ``?`` in the place of values."""
