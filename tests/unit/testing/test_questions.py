"""The page of statements: what each backend receives for a question, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from healthstore.testing.questions import QUESTIONS, STORES, page, statements

PAGE = Path(__file__).parents[3] / "docs/reference/statements.md"


def test_the_page_is_what_the_compilers_write() -> None:
    """The committed page has each question with the statements of now."""
    assert PAGE.read_text("utf-8") == page(), (
        "write it anew: python -m healthstore.testing.questions > docs/reference/statements.md"
    )


@pytest.mark.parametrize("store", STORES)
async def test_a_statement_holds_no_value(store: str) -> None:
    """What a question compares with is a place in its statement."""
    asked = [each for questions in QUESTIONS.values() for each in questions]
    sent = [text for each in asked for text in await statements(store, each)]
    assert len(sent) >= len(asked)
    for value in ("fasting", "Bonn", "Ann", "100 %", "blood", "[a-z_]", "2025-03-01", "70"):
        assert any(value in each for each in asked) or value.startswith("2025")
        assert not any(value in each for each in sent)
