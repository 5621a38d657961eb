"""How connections are encrypted: one vocabulary in the URL, and one builder for the drivers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from enum import StrEnum

from healthstore.abc.url import BackendURL
from healthstore.errors import Condition, ConfigurationError

__all__ = ("Tls", "default_tls", "read_tls", "tls_context")


class Tls(StrEnum):
    """What a connection asks of the server."""

    VERIFY = "verify"
    """An encrypted connection to a server whose certificate is trusted and names the host."""
    ENCRYPT = "encrypt"
    """An encrypted connection, to whoever answers."""
    OFF = "off"


def read_tls(text: str) -> Tls:
    """Return the value of ``tls`` or of a driver's own option; raise ValueError for others.

    ``true`` and the like mean ``verify``, ``false`` means ``off``; libpq's ``require`` and
    ``verify-ca`` mean what is at least as strict here.
    """
    try:
        return _SPELLINGS[text.lower()]
    except KeyError:
        raise ValueError(text) from None


_SPELLINGS: Mapping[str, Tls] = {
    **{each.value: each for each in Tls},
    **dict.fromkeys(("true", "on", "1", "verify-full", "verify-ca", "verify_identity"), Tls.VERIFY),
    **dict.fromkeys(("require", "required"), Tls.ENCRYPT),
    **dict.fromkeys(("false", "0", "disable", "disabled"), Tls.OFF),
}


def default_tls(url: BackendURL) -> Tls:
    """Return what holds where the URL says nothing: other machines are verified."""
    return Tls.OFF if url.local else Tls.VERIFY


def tls_context(tls: Tls, ca: str = "") -> ssl.SSLContext | None:
    """Return the context for a driver, or None for plain text; TLS 1.2 is the oldest version.

    ``ca`` is the path of a file with the authorities to trust instead of the system's. Raises
    ConfigurationError if it cannot be read.
    """
    if tls is Tls.OFF:
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError):
        error = ConfigurationError(
            "the file of tls_ca cannot be read, or holds no certificate",
            hint="give the path of a file in PEM form that this process may read",
        )
        error.condition = Condition.MISCONFIGURED
        raise error from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls is Tls.ENCRYPT:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
