"""What all tests share."""

from __future__ import annotations

import gc

pytest_plugins = ("pytester",)


def pytest_collection() -> None:
    """Let nothing be looked at that stays: tens of thousands of tests are made."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Keep the collector from the tests: a quarter of the time went into looking at them."""
    gc.enable()
    gc.freeze()
