"""From a URL to the arguments of the driver's client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from urllib.parse import quote

from healthstore.abc.options import common_options
from healthstore.abc.tls import Tls, tls_context
from healthstore.abc.url import BackendURL, Host
from healthstore.errors import ConfigurationError

__all__ = ("ClientOptions", "read_url")

_DRIVERS = frozenset({"", "srv", "pymongo", "motor"})


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What a client is made from. ``repr`` never shows the password.

    ``address`` is a MongoDB URL without credentials, ``arguments`` are the keyword arguments of
    the driver's client, ``database`` is the name of the database; ``timeout`` bounds an
    operation, in seconds. ``units`` may be open at a time; ``acquire_timeout`` are the seconds
    without any becoming free after which another one is refused.
    """

    address: str
    database: str
    timeout: float
    units: int
    acquire_timeout: float
    arguments: Mapping[str, Any] = field(repr=False)


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


def _only(allowed: str) -> Callable[[str], str]:
    """Return the reader of an option that may be stated, but not changed."""

    def read(text: str) -> str:
        if text != allowed:
            raise ValueError(text)
        return text

    return read


# Options of the driver that are passed on under their own name, and how each is read.
# `tlsInsecure` and its kin are absent on purpose: `tlsCAFile` trusts one's own authority.
_PASSED: dict[str, Callable[[str], object]] = {
    "appName": str,
    "authMechanism": str,
    "authMechanismProperties": str,
    "authSource": str,
    "compressors": str,
    "connectTimeoutMS": int,
    "directConnection": _boolean,
    "heartbeatFrequencyMS": int,
    "loadBalanced": _boolean,
    "localThresholdMS": int,
    "maxConnecting": int,
    "maxIdleTimeMS": int,
    "maxPoolSize": int,
    "minPoolSize": int,
    "replicaSet": str,
    "retryReads": _boolean,
    "retryWrites": _boolean,
    "serverSelectionTimeoutMS": int,
    "socketTimeoutMS": int,
    "srvMaxHosts": int,
    "srvServiceName": str,
    "tlsCAFile": str,
    "tlsCRLFile": str,
    "tlsCertificateKeyFile": str,
    "tlsCertificateKeyFilePassword": str,
    "waitQueueTimeoutMS": int,
    "zlibCompressionLevel": int,
}
# What "acknowledged means durable" rests on: URLs often state it, none may change it.
_FIXED: dict[str, str] = {
    "journal": "true",
    "readConcernLevel": "majority",
    "readPreference": "primary",
    "w": "majority",
}
# Options of the driver that say that TLS is wanted.
_FOR_TLS = frozenset(name for name in _PASSED if name.startswith("tls"))

_KNOWN: dict[str, tuple[Callable[[str], object], object]] = {
    **{name: (read, None) for name, read in _PASSED.items()},
    **{name: (_only(value), value) for name, value in _FIXED.items()},
}


def read_url(url: BackendURL) -> ClientOptions:
    """Return what a client for this URL is made from; raise ConfigurationError otherwise.

    ``timeout`` (seconds) bounds each operation, retries included; ``connect_timeout`` the search
    for a server and each connection; ``acquire_timeout`` the wait for a free one, of which there
    are ``pool_size`` for each server (100 unless it is given), and for a unit, of which as many
    may be open (10 unless it is given). ``tls`` and ``tls_ca`` are as for every member. Other
    options are the driver's own, and win. Its ``timeoutMS`` is not among them: it would replace
    ``connect_timeout``.
    """
    values: dict[str, Any] = url.read_options({**common_options(url), **_KNOWN})
    _check_address(url)
    connect_timeout, timeout = values["connect_timeout"], values["timeout"]
    arguments: dict[str, Any] = {
        "username": url.user,
        "password": url.password,
        "serverSelectionTimeoutMS": int(1000 * connect_timeout),
        "connectTimeoutMS": int(1000 * connect_timeout),
        "waitQueueTimeoutMS": int(1000 * values["acquire_timeout"]),
        "uuidRepresentation": "standard",
        "tz_aware": True,
        "tzinfo": UTC,
        "w": "majority",
        "journal": True,
        "readConcernLevel": "majority",
        "retryWrites": True,
        "retryReads": True,
        "appName": "healthstore",
    }
    if "pool_size" in url.options:
        arguments["maxPoolSize"] = values["pool_size"]
    arguments |= _encryption(url, values)
    arguments |= {name: values[name] for name in _PASSED if values[name] is not None}
    scheme = "mongodb+srv" if url.driver == "srv" else "mongodb"
    hosts = ",".join(map(_address, url.hosts))
    # The database is part of it: it is where a user is looked up unless `authSource` says so.
    address = f"{scheme}://{hosts}/{quote(url.database, safe='')}"
    units = arguments.get("maxPoolSize") or values["pool_size"]  # the driver's 0: no bound
    acquire_timeout = arguments["waitQueueTimeoutMS"] / 1000
    return ClientOptions(address, url.database, timeout, units, acquire_timeout, arguments)


def _encryption(url: BackendURL, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the driver's arguments: it builds the context itself, and takes none."""
    tls: Tls = values["tls"]
    if "tls" not in url.options and _FOR_TLS & url.options.keys():
        tls = Tls.VERIFY
    tls_context(tls, values["tls_ca"])  # refuses a file that cannot be read
    arguments: dict[str, Any] = {"tls": tls is not Tls.OFF}
    if tls is not Tls.OFF and values["tls_ca"]:
        arguments["tlsCAFile"] = values["tls_ca"]
    if tls is Tls.ENCRYPT:
        arguments["tlsAllowInvalidCertificates"] = True
    return arguments


def _check_address(url: BackendURL) -> None:
    if url.driver not in _DRIVERS:
        raise ConfigurationError(
            f"mongodb has no driver {url.driver!r}", hint="write mongodb:// or mongodb+srv://"
        )
    if not url.hosts:
        raise ConfigurationError(
            "the URL names no host", hint="write mongodb://localhost:27017/database"
        )
    if not url.database:
        raise ConfigurationError(
            "the URL names no database", hint=f"write mongodb://{url.hosts[0]}/database"
        )
    if set(url.database) & set('/\\. "$\x00') or len(url.database.encode()) > 63:
        raise ConfigurationError(
            "the name of the database does not fit MongoDB",
            hint='use at most 63 bytes, without / \\ . " $ and spaces',
        )
    if url.driver == "srv" and (len(url.hosts) != 1 or url.hosts[0].port is not None):
        raise ConfigurationError(
            "mongodb+srv:// takes exactly one host and no port",
            hint="the ports come from DNS; with mongodb:// name each host",
        )


def _address(host: Host) -> str:
    name = f"[{host.name}]" if ":" in host.name else quote(host.name, safe="")
    return name if host.port is None else f"{name}:{host.port}"
