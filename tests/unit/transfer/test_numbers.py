"""Numbers are read as they are written, or refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthstore.transfer.numbers import InexactError, exact_float, exact_whole


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_read_from_its_own_digits(value: float) -> None:
    """Whatever wrote it as Python, JavaScript or msgspec do is read."""
    assert exact_float(repr(value)) == value


@given(st.decimals(-(10**15), 10**15, allow_nan=False, places=None) | st.decimals(0, 1, places=30))
def test_a_number_is_kept_or_refused(value: Decimal) -> None:
    """What is read has the value that is written."""
    try:
        read = exact_float(str(value))
    except InexactError:
        assert Decimal(repr(float(value))) != value
    else:
        assert Decimal(repr(read)) == value


@given(st.integers(-(10**25), 10**25))
def test_a_whole_number_is_exact(value: int) -> None:
    """Also one that no float holds."""
    assert exact_whole(f"{value}.000") == value
    assert exact_whole(f"{value}e0") == value


@pytest.mark.parametrize("text", ["1e999999999", "1e99999999999999999999", "0.5", "-1e-7"])
def test_another_number_is_a_float(text: str) -> None:
    """A few characters do not become an integer of a million digits."""
    assert exact_whole(text) == float(text)
