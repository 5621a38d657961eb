"""Checks: what an entity declares about its values holds for every stored document."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from healthstore.abc import Backend
from healthstore.errors import CheckError, Outcome
from healthstore.model.ops import Insert, Patch, Replace
from healthstore.testing.contract._promises import Contract, needs_transactions, proves
from healthstore.testing.contract._samples import CHECKED, add, checked, ids, stored

__all__ = ("TestChecks",)

# (values, the check that they break)
BROKEN: tuple[tuple[dict[str, object], str], ...] = (
    ({"age": -1}, "age_is_human"),
    ({"age": 151}, "age_is_human"),
    ({"state": "Open"}, "state_is_known"),
    ({"state": "open "}, "state_is_known"),
    ({"state": ""}, "state_is_known"),
    ({"weight": Decimal(0)}, "weight_is_plausible"),
    ({"weight": Decimal("700.0001")}, "weight_is_plausible"),
    ({"since": date(1899, 12, 31)}, "since_is_recent"),
    ({"age": 17, "state": "closed"}, "children_are_open"),
)
SOUND: tuple[dict[str, object], ...] = (
    {},
    {"age": 0, "state": "open"},
    {"age": 150, "state": "it's"},
    {"age": 17},
    {"state": "closed"},
    {"weight": Decimal("0.0001")},
    {"weight": Decimal(700)},
    {"since": date(1900, 1, 1)},
)


class TestChecks(Contract):
    """A document that breaks a check is never stored."""

    async def test_a_document_that_satisfies_the_checks_is_kept(self, store: Backend) -> None:
        """Values at the borders pass, and so does a field that has no value."""
        rows = [checked(**values) for values in SOUND]
        await add(store, CHECKED, *rows)
        assert sorted(ids(await stored(store, CHECKED))) == sorted(ids(rows))

    @proves("T15")
    @pytest.mark.parametrize(("values", "broken"), BROKEN)
    async def test_a_broken_check_is_refused_by_every_write(
        self, store: Backend, values: dict[str, object], broken: str
    ) -> None:
        """Adding, replacing or patching into a broken check fails, names it, changes nothing."""
        row = checked()
        await add(store, CHECKED, row)
        wrong = checked(**values)
        sets = tuple((name, wrong[name]) for name in values)
        for op in (
            Insert(CHECKED, (wrong,)),
            Replace(CHECKED, ({**wrong, "id": row["id"]},)),
            Patch(CHECKED, ids([row]), sets=sets),
        ):
            with pytest.raises(CheckError) as error:
                await store.execute(op)
            assert broken in error.value.message
            assert error.value.entity == "Checked"
            assert error.value.hint
            assert error.value.outcome is Outcome.NOT_APPLIED
            assert await stored(store, CHECKED) == [row]

    async def test_an_increment_cannot_break_a_check(self, store: Backend) -> None:
        """An increment to the border passes, one beyond it changes nothing."""
        row = checked(age=149)
        await add(store, CHECKED, row)
        patch = Patch(CHECKED, ids([row]), increments=(("age", 1),))
        assert await store.execute(patch) == ({**row, "age": 150},)
        with pytest.raises(CheckError):
            await store.execute(patch)
        assert await stored(store, CHECKED) == [{**row, "age": 150}]

    @needs_transactions
    async def test_one_broken_check_refuses_the_whole_request(self, store: Backend) -> None:
        """When one document of many breaks a check, none is kept."""
        await add(store, CHECKED, checked())
        before = await stored(store, CHECKED)
        with pytest.raises(CheckError):
            await store.execute(Insert(CHECKED, (checked(age=1), checked(age=200), checked())))
        assert await stored(store, CHECKED) == before
