"""JSON as it is stored: any key, and as deep as is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.abc import Backend
from healthstore.errors import Outcome, RefusedValueError
from healthstore.model.ops import Ensure, Find, Insert, Op, Patch, Replace
from healthstore.model.values import Json, Value
from healthstore.testing.contract._promises import Contract, laws, proves
from healthstore.testing.contract._samples import (
    EVERYTHING,
    add,
    canonical,
    everything,
    ids,
    one,
    stored,
    typed,
)
from healthstore.testing.strategies import texts

__all__ = ("TestJsonStorage",)

LEVELS = 64
# Keys that a path, an operator, a statement or a driver would take for something of its own.
ODD = (
    *("", " ", ".", "..", "a.b", ".a", "a.", "$", "$$", "$a", "a$", "$set", "$.a", "$[0]", "a.$.b"),
    *("0", "-1", "[0]", "a[0]", "*", "**", "?", "@", '"', "''", "'", '"a"', "\\", "\\u0041", "`"),
    *("_id", "id", "$date", "$oid", "$numberDecimal", "__proto__", "null", "true", "NaN", "{}"),
    *("ä", "a\u0308", "😀", "\x01", "\x7f", "\u2028", "\ufeff", "\uffff", "\U0010ffff", "\ue000"),
    *(":a", "%s", "%(a)s", "${a}", "{a}", "a,b", "a/b", "a~1b", "#", "--", "/*", "x" * 2_000),
)
_LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts(5)
_OBJECTS = st.dictionaries(
    st.sampled_from(ODD) | texts(20),
    st.recursive(
        _LEAVES,
        lambda inner: (
            st.dictionaries(st.sampled_from(ODD) | texts(5), inner, max_size=3)
            | st.lists(inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=6,
)


def _lists(levels: int) -> Json:
    value: Json = "deep"
    for _ in range(levels):
        value = [value]
    return value


def _objects(levels: int) -> Json:
    value: Json = "deep"
    for _ in range(levels):
        value = {"$in.": value}
    return value


def _mixed(levels: int) -> Json:
    value: Json = 1
    for level in range(levels):
        value = [0, value] if level % 2 else {"a": None, "b": value}
    return value


DEEP: dict[str, Callable[[int], Json]] = {"lists": _lists, "objects": _objects, "both": _mixed}


class TestJsonStorage(Contract):
    """A JSON value comes back as it was, whatever its keys are and however deep it is."""

    @proves("J5")
    async def test_any_key_is_kept_at_any_level_by_every_write(self, store: Backend) -> None:
        """Dots, dollars, quotes and nothing at all, alone, together and inside of each other."""
        together: Json = {key: at for at, key in enumerate(ODD)}
        inside: Json = {key: {key: [{key: None}]} for key in ODD}
        alone: list[Json] = [{key: {key: key}} for key in ODD]
        row = everything()
        await add(store, EVERYTHING, row, *(everything(data=each) for each in alone))
        for data in (together, inside, *alone[::7]):
            wanted = typed(canonical(EVERYTHING, "data", data))
            (after,) = await store.execute(Patch(EVERYTHING, ids([row]), sets=(("data", data),)))
            assert after is not None
            assert typed(after["data"]) == wanted
            await store.execute(Replace(EVERYTHING, ({**row, "data": data},)))
            got = await one(store, EVERYTHING, row)
            assert got is not None
            assert typed(got["data"]) == wanted
        kept = {
            str(each["data"]) for each in await stored(store, EVERYTHING) if each["id"] != row["id"]
        }
        assert kept == {str(each) for each in alone}

    @proves("J1", "J2", "J5")
    @laws
    @given(_OBJECTS)
    async def test_any_object_comes_back_with_its_keys(
        self, store: Backend, data: dict[str, Json]
    ) -> None:
        """Whatever text they are, in the order of their code points."""
        await store.execute(Ensure((EVERYTHING,)))
        row = everything(data=data)
        await store.execute(Insert(EVERYTHING, (row,)))
        got = await one(store, EVERYTHING, row)
        assert got is not None
        assert typed(got["data"]) == typed(canonical(EVERYTHING, "data", data))
        assert list(cast("dict[str, Json]", got["data"])) == sorted(data)

    @proves("J10")
    @pytest.mark.parametrize("shape", DEEP)
    async def test_the_deepest_json_is_kept_and_no_deeper_one(
        self, store: Backend, shape: str
    ) -> None:
        """As many levels as are allowed by every write; one more is refused before any I/O."""
        deep, deeper = DEEP[shape](LEVELS), DEEP[shape](LEVELS + 1)
        row = everything()
        await add(store, EVERYTHING, row, everything(data=deep))
        mine = ids([row])
        (after,) = await store.execute(Patch(EVERYTHING, mine, sets=(("data", deep),)))
        assert after is not None
        assert typed(after["data"]) == typed(deep)
        await store.execute(Replace(EVERYTHING, ({**row, "data": deep},)))
        found = await store.execute(Find(EVERYTHING))
        assert [typed(each["data"]) for each in found] == [typed(deep)] * 2
        for wrong in (deeper, DEEP[shape](300), DEEP[shape](20_000)):
            requests: tuple[Op[object], ...] = (
                Insert(EVERYTHING, (everything(data=wrong),)),
                Replace(EVERYTHING, ({**row, "data": wrong},)),
                Patch(EVERYTHING, mine, sets=(("data", cast(Value, wrong)),)),
            )
            for op in requests:
                with pytest.raises(RefusedValueError) as error:
                    await store.execute(op)
                assert error.value.field == "data"
                assert str(LEVELS) in error.value.message
                assert error.value.outcome is Outcome.NOT_APPLIED
        assert [typed(each["data"]) for each in await stored(store, EVERYTHING)] == [
            typed(deep)
        ] * 2

    @proves("J10")
    async def test_the_largest_document_is_one_that_every_backend_could_keep(
        self, store: Backend
    ) -> None:
        """What a backend declares is between one MiB and what every server takes, with room."""
        assert 2**20 <= store.capabilities.max_document_bytes <= 15 * 2**20
