"""Sizes: the largest document is kept by every backend, whatever it is made of; no larger one is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import pytest

from healthstore.abc import Backend
from healthstore.errors import Outcome, RefusedValueError
from healthstore.model.ops import CountDocuments, Delete, Get, Insert, Patch, Replace
from healthstore.model.query import F
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind, Value
from healthstore.testing.contract._promises import Contract, proves
from healthstore.testing.contract._samples import EVERYTHING, add, everything, ids, one, stored

__all__ = ("TestSizes",)

_MANY = 100
_WIDE = Collection(
    "contract_wide",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        *(Field(f"text_{at}", FieldType(Kind.TEXT)) for at in range(_MANY)),
    ),
    entity="Wide",
)
_LITTLE = 200  # bytes around a JSON value, at most

# The field, and from a number of bytes a value that takes about as many: what a driver escapes,
# what it writes in hex, what is short as text and long elsewhere.
LARGEST: Mapping[str, tuple[str, Callable[[int], object]]] = {
    "plain text": ("text", lambda size: "x" * size),
    "quotes": ("text", lambda size: "'" * size),
    "backslashes and lines": ("text", lambda size: "\\\n" * (size // 2)),
    "the largest code points": ("text", lambda size: "\U0001f600'''" * (size // 7)),
    "bytes": ("blob", lambda size: (bytes(range(256)) * (size // 256 + 1))[:size]),
    "zeros": ("blob", bytes),
    "a text in JSON": ("data", lambda size: ["'" * (size - _LITTLE)]),
    "lines in JSON": ("data", lambda size: ['"\\\n' * ((size - _LITTLE) // 6)]),
    "texts in JSON": ("data", lambda size: ["'"] * (size // 20)),
    "numbers in JSON": ("data", lambda size: [7] * (size // 17)),
}
# The same, a little larger than is kept.
LARGER: Mapping[str, tuple[str, Callable[[int], object]]] = {
    "text": ("text", lambda size: "x" * (size + 1)),
    "letters": ("text", lambda size: "é" * (size // 2 + 1)),
    "bytes": ("blob", lambda size: bytes(size + 1)),
    "a text in JSON": ("data", lambda size: ["é" * (size // 2)]),
    "keys in JSON": ("data", lambda size: {f"{at:09}": None for at in range(size // 19 + 1)}),
    "lines in JSON": ("data", lambda size: ["\n" * (size // 2)]),
    "numbers in JSON": ("data", lambda size: [7] * (size // 10)),
}


class TestSizes(Contract):
    """How large a document may be is said by the capabilities; what is allowed is kept."""

    @proves("J10", "W7")
    @pytest.mark.parametrize("case", LARGEST)
    async def test_the_largest_document_is_kept(self, store: Backend, case: str) -> None:
        """It is added, replaced, changed and found as it was, whatever its value is made of."""
        name, make = LARGEST[case]
        large = cast(Value, make(store.capabilities.max_document_bytes))
        row = everything(**{name: large})
        await add(store, EVERYTHING, row)
        assert await one(store, EVERYTHING, row) == row
        row["version"] = 2
        assert await store.execute(Replace(EVERYTHING, (row,))) == (True,)
        changed = Patch(EVERYTHING, ids([row]), sets=((name, large), ("version", 3)))
        assert await store.execute(changed) == ({**row, "version": 3},)
        assert await stored(store, EVERYTHING) == [{**row, "version": 3}]
        assert await store.execute(Delete(EVERYTHING, ids([row]))) == (True,)

    @proves("W7")
    @pytest.mark.parametrize("case", ["quotes", "bytes"])
    async def test_several_of_the_largest_documents_are_added_at_once(
        self, store: Backend, case: str
    ) -> None:
        """One request may hold more than a server takes in one message."""
        name, make = LARGEST[case]
        large = cast(Value, make(store.capabilities.max_document_bytes))
        rows = [everything(**{name: large}) for _ in range(3)]
        await add(store, EVERYTHING, *rows, everything())
        for row in rows:
            assert await one(store, EVERYTHING, row) == row
        assert await store.execute(CountDocuments(EVERYTHING)) == 4

    async def test_many_texts_fill_a_document(self, store: Backend) -> None:
        """Values that are short one by one may be escaped, too."""
        size = store.capabilities.max_document_bytes // _MANY
        values: Mapping[str, Value] = {f"text_{at}": "'" * size for at in range(_MANY)}
        row = {**everything(), **values}
        row = {each: row[each] for each in _WIDE.names}
        await add(store, _WIDE, row)
        assert await store.execute(Get(_WIDE, ids([row]))) == (row,)

    @pytest.mark.parametrize("text", ["'" * 10_000, "\\" * 100_000, "\U0001f600\n" * 50_000])
    async def test_a_long_text_is_found(self, store: Backend, text: str) -> None:
        """A filter compares a long text with a stored one, sign by sign."""
        row, other = everything(text=text), everything(text=f"{text[:-1]}x")
        await add(store, EVERYTHING, row, other)
        assert await stored(store, EVERYTHING, F.text == text) == [row]
        assert await stored(store, EVERYTHING, F.text != text) == [other]
        assert await stored(store, EVERYTHING, F.text.in_([text, "x"])) == [row]
        assert await stored(store, EVERYTHING, F.text.contains(text[:3_000])) != []

    @proves("J10")
    @pytest.mark.parametrize("case", LARGER)
    async def test_a_larger_document_is_refused(self, store: Backend, case: str) -> None:
        """The refusal is the same on every backend, of each write, and before anything is sent."""
        name, make = LARGER[case]
        large = cast(Value, make(store.capabilities.max_document_bytes))
        row = everything()
        await add(store, EVERYTHING, row)
        for op in (
            Insert(EVERYTHING, (everything(**{name: large}),)),
            Replace(EVERYTHING, ({**row, name: large},)),
            Patch(EVERYTHING, ids([row]), sets=((name, large),)),
        ):
            with pytest.raises(RefusedValueError) as error:
                await store.execute(op)
            assert f"{store.capabilities.max_document_bytes} bytes" in error.value.message
            assert error.value.entity == "Everything"
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert error.value.hint
        assert await stored(store, EVERYTHING) == [row]
