"""What an adapter reads first, where its database looks nothing up: bounded, and told."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

import pytest

from healthstore.abc import Capabilities
from healthstore.adapters.memory import MemoryAdapter
from healthstore.build import build_guard
from healthstore.errors import InvalidRequestError
from healthstore.model.ops import CountDocuments, Ensure, Insert
from healthstore.model.query import ALL, MAX_VALUES, F, Lookup
from healthstore.model.schema import Collection, Field
from healthstore.model.shape import shape
from healthstore.model.values import FieldType, Kind

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from healthstore.model.values import Value

NUMBERS = Collection(
    "numbers",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("n", FieldType(Kind.INTEGER)),
    ),
)


class Reading(MemoryAdapter):
    """Looks nothing up; its queries find as many values as it is told."""

    capabilities: ClassVar[Capabilities] = Capabilities(durable=False)  # type: ignore[misc] - an adapter may set it once for all
    found: int = 0

    async def looked_up(self, session: object, lookup: Lookup) -> AbstractSet[Value]:
        """Return so many values."""
        del session, lookup
        return frozenset(range(self.found))


async def test_as_many_values_as_a_list_may_hold_are_looked_up() -> None:
    """One more is refused, with the way out."""
    adapter = Reading()
    store = build_guard(adapter)
    await store.open()
    await store.execute(Ensure((NUMBERS,)))
    asked = CountDocuments(NUMBERS, F.n.in_(Lookup(NUMBERS, ALL, "n")))
    adapter.found = MAX_VALUES
    assert await store.execute(asked) == 0
    adapter.found += 1
    with pytest.raises(InvalidRequestError, match="more than 100000 values") as refused:
        await store.execute(asked)
    assert refused.value.hint
    assert (refused.value.entity, refused.value.field) == ("numbers", "n")
    await store.close()


async def test_many_documents_have_few_values() -> None:
    """Distinct values count: a thousand rows of one value are one, read in pages."""
    memory = MemoryAdapter()
    store = build_guard(memory)
    await store.open()
    await store.execute(Ensure((NUMBERS,)))
    rows = tuple({"id": UUID(int=at), "version": 1, "n": at % 2} for at in range(2_500))
    await store.execute(Insert(NUMBERS, rows))
    async with memory.session(Insert.effect) as session:
        found = await super(MemoryAdapter, memory).looked_up(session, Lookup(NUMBERS, ALL, "n"))
    assert set(found) == {0, 1}
    await store.close()


def test_the_shape_of_a_lookup_names_both_collections() -> None:
    """And no value; so a position belongs to the query inside, too."""
    inner = F.n.in_(Lookup(NUMBERS, F.n > 5, "version"))
    assert shape(CountDocuments(NUMBERS, inner)) == (
        "count numbers where n in (version of numbers where n > ?)"
    )
    everything = ~F.n.in_(Lookup(NUMBERS, ALL, "version"))
    assert shape(CountDocuments(NUMBERS, everything)) == (
        "count numbers where not n in (version of numbers)"
    )
