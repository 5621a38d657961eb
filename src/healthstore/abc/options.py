"""The options that every member has, whatever its database: one variable switches between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from healthstore.abc.tls import Tls, default_tls, read_tls
from healthstore.abc.url import BackendURL, positive, seconds

__all__ = ("common_options", "encryption")


def common_options(url: BackendURL) -> dict[str, tuple[Callable[[str], object], object]]:
    """Return the common options of a URL, for :meth:`BackendURL.read_options`.

    ``pool_size`` connections at most; seconds to wait for a free one (``acquire_timeout``), for
    a new one to be ready, handshake included (``connect_timeout``), and for a statement
    (``timeout``); ``tls`` and ``tls_ca`` as in :mod:`healthstore.abc.tls`. Embedded
    databases take those that mean nothing to them without effect.
    """
    return {
        "pool_size": (positive, 10),
        "acquire_timeout": (seconds, 10.0),
        "connect_timeout": (seconds, 5.0),
        "timeout": (seconds, 30.0),
        "tls": (read_tls, default_tls(url)),
        "tls_ca": (str, ""),
    }


def encryption(url: BackendURL, values: Mapping[str, object], native: str) -> object:
    """Return what ``tls`` says or, if only the driver's ``native`` option is given, that one."""
    given = native in url.options and "tls" not in url.options
    return values[native] if given else Tls(str(values["tls"]))
