"""What the base of adapters does for an author who has written no more than he must."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from healthstore.abc.adapter import Adapter
from healthstore.adapters.memory import MemoryAdapter
from healthstore.build import build_guard
from healthstore.model.ops import Find
from healthstore.model.query import F, Order
from healthstore.testing.contract._samples import EVERYTHING, add, every_row


class PlainAdapter(MemoryAdapter):
    """A store that finds whole documents only."""

    select = Adapter.select


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([("flag",), ("level", "flag"), ("id",), ("day", "text")]),
    st.booleans(),
    st.integers(1, 50),
)
async def test_columns_are_picked_of_whole_documents(
    columns: tuple[str, ...],
    distinct: bool,  # noqa: FBT001 - Hypothesis gives it
    limit: int,
) -> None:
    """A store that knows no columns answers as one that does."""
    order = () if distinct else (Order("id"),)
    op = Find(EVERYTHING, F.number.not_null(), order, limit, columns=columns, distinct=distinct)
    answers = []
    for kind in (MemoryAdapter, PlainAdapter):
        store = build_guard(kind("store"))
        await store.open()
        await add(store, EVERYTHING, *every_row(40))
        answers.append(await store.execute(op))
        await store.close()
    assert answers[0] == answers[1]
    assert answers[0]
