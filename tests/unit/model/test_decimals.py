"""Decimals under the program's own context: as text, as units, and in files."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from healthstore.model.decimals import EXACT, UNROUNDED, of_units, text_of, to_units
from healthstore.model.schema import Collection, Field
from healthstore.model.values import FieldType, Kind, Value, canonicaliser
from healthstore.model.wire import digester, from_tagged, to_tagged
from healthstore.testing.contract.decimals import CONTEXTS, HOSTILE
from healthstore.transfer.codec import LineEncoder

UNITS = st.integers(-(10**28) + 1, 10**28 - 1)
DOSE = FieldType(Kind.DECIMAL, digits=28, places=8)
DOSES = Collection(
    "doses",
    (
        Field("id", FieldType(Kind.UUID)),
        Field("version", FieldType(Kind.INTEGER)),
        Field("dose", DOSE),
    ),
)


def _of(units: int) -> Decimal:
    return Decimal((int(units < 0), tuple(map(int, str(abs(units)))), -8))


@given(CONTEXTS, UNITS)
def test_units_and_text_are_exact_under_any_context(context: Context, units: int) -> None:
    """There and back, digit for digit."""
    with localcontext(context):
        value = of_units(units, 8)
        back, text = to_units(value, 8), text_of(value)
    assert (value.as_tuple(), back, text) == (_of(units).as_tuple(), units, str(_of(units)))


@given(CONTEXTS, UNITS)
def test_files_and_digests_are_the_same_under_any_context(context: Context, units: int) -> None:
    """A backup that is written under another context has the same bytes."""
    value = _of(units)

    def everything() -> tuple[object, ...]:
        digest: Callable[[Value], object] | None = digester(DOSE)
        assert digest is not None
        tagged = to_tagged(DOSE)(value)
        read = canonicaliser(DOSE)(from_tagged(DOSE)(tagged))
        lines = LineEncoder(DOSES).lines([{"id": UUID(int=1), "version": 1, "dose": value}])
        return (digest(value), tagged, lines, parts_of(read))

    with localcontext(context):
        under = everything()
    assert under == everything()


def parts_of(value: Value) -> object:
    """Return what a Decimal is made of."""
    assert isinstance(value, Decimal)
    return value.as_tuple()


def test_the_contexts_are_our_own() -> None:
    """They do not take their settings from the program's default, nor change it."""
    with localcontext(HOSTILE):
        assert EXACT.divide(Decimal(1), Decimal(3)).as_tuple().digits == (3,) * 80
    assert not any(HOSTILE.flags.values())
    assert UNROUNDED.prec == EXACT.prec
