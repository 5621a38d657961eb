"""The MongoDB backend, for standalone servers, replica sets and sharded clusters."""

from __future__ import annotations

from healthstore.abc.url import BackendURL
from healthstore.adapters.mongo.adapter import MongoAdapter
from healthstore.adapters.mongo.options import read_url

__all__ = ("MongoAdapter", "connect")


def connect(url: BackendURL, name: str) -> MongoAdapter:
    """Return the adapter for a ``mongodb://`` or ``mongodb+srv://`` URL, not opened.

    Raises ConfigurationError for a URL without host or database, or with an option that is
    unknown or would weaken a promise.
    """
    return MongoAdapter(name, read_url(url))
