"""Text that every backend can keep."""

from __future__ import annotations

__all__ = ("require_text",)


def require_text(value: str) -> None:
    """Raise ValueError for a text that some backend could not keep; the message never quotes it."""
    if "\x00" in value:
        raise ValueError("holds U+0000, which PostgreSQL cannot store")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # `from None`: the codec's message quotes the text.
            raise ValueError("holds a lone surrogate, which is not valid Unicode") from None
