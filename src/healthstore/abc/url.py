"""URLs of backends: parsed by us, so that a mistake gets one clear error without the secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import parse_qsl, unquote

from healthstore.errors import ConfigurationError

__all__ = ("BackendURL", "Host", "has_control_character", "is_host", "positive", "seconds")

T = TypeVar("T")
_DAY = 86_400.0
_HOST_NAME = re.compile(r"[\w.-]+")  # underscores and letters of any script occur in practice
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ENCODE = (
    "in a user name or password write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A, % as %25"
)


@dataclass(frozen=True, slots=True)
class Host:
    """A server's name or address, and its port (None: the database's default)."""

    name: str
    port: int | None = None

    def __str__(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it is this machine: ``localhost``, a loopback address, or a socket's path."""
        if self.name.lower() == "localhost" or self.name.startswith("/"):
            return True
        try:
            return ip_address(self.name).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class BackendURL:
    """The parts of ``scheme[+driver]://[user[:password]@]host[:port]/database?option=value``.

    ``repr`` and ``str`` never show the password. For SQLite ``database`` is the path of the
    file: ``sqlite:///app.db`` is relative, ``sqlite:////srv/app.db`` absolute.
    """

    scheme: str
    driver: str = ""
    hosts: tuple[Host, ...] = ()
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    database: str = ""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        driver = f"+{self.driver}" if self.driver else ""
        secret = ":***" if self.password is not None else ""
        user = f"{self.user}{secret}@" if self.user else ""
        return f"{self.scheme}{driver}://{user}{','.join(map(str, self.hosts))}/{self.database}"

    @property
    def local(self) -> bool:
        """Whether every host is this machine; so is a URL without hosts."""
        return all(host.local for host in self.hosts)

    @classmethod
    def parse(cls, text: str) -> BackendURL:
        """Parse a URL; raise ConfigurationError, which never quotes it, if it is malformed.

        White space around it does not count. A control character is refused, also an encoded one.
        """
        if not isinstance(text, str):
            raise ConfigurationError(
                f"the URL of a backend is a text, not {type(text).__name__}",
                hint="for example sqlite:///app.db; a variable that is not set gives None",
            )
        if has_control_character(unquote(text.strip())):
            raise ConfigurationError(
                "the URL holds a control character",
                hint="a line end, a tab or a NUL: look how the URL is put together",
            )
        prefix, mark, rest = text.strip().partition("://")
        scheme, _, driver = prefix.strip().lower().partition("+")
        if not mark or not scheme:
            raise ConfigurationError(
                "this is not the URL of a backend",
                hint="write scheme://…, for example sqlite:///app.db or postgresql://user@host/db",
            )
        rest, _, query = rest.partition("?")
        authority, slash, database = rest.partition("/")
        if "@" in database:
            raise ConfigurationError(
                "the URL has an @ behind the first /",
                hint=_ENCODE,
            )
        if "@" in query and "@" not in authority:
            # Behind the ? of a password: taken for an option, the rest of it would be shown.
            raise ConfigurationError("the URL has its @ behind the first ?", hint=_ENCODE)
        credentials, at, addresses = authority.rpartition("@")
        user, colon, password = credentials.partition(":")
        return cls(
            scheme=scheme,
            driver=driver,
            hosts=tuple(_host(part) for part in addresses.split(",") if part),
            user=unquote(user) if at and user else None,
            password=unquote(password) if colon else None,
            database=unquote(database) if slash else "",
            options=dict(parse_qsl(query, keep_blank_values=True)),
        )

    def read_options(self, known: Mapping[str, tuple[Callable[[str], T], T]]) -> dict[str, T]:
        """Return a value for each known option: from the URL, or its default.

        ``known`` maps a name to (function from text, default). Raises ConfigurationError for an
        unknown option (with a did-you-mean) and for text that the function refuses.
        """
        values = {name: default for name, (_, default) in known.items()}
        for name, text in self.options.items():
            if name not in known:
                close = get_close_matches(name, list(known), n=1)
                raise ConfigurationError(
                    f"the URL has the unknown option {name!r}",
                    hint=f"did you mean {close[0]!r}?"
                    if close
                    else f"{self.scheme} knows: {', '.join(sorted(known)) or 'none'}",
                )
            try:
                values[name] = known[name][0](text)
            except ValueError:
                raise ConfigurationError(
                    f"the option {name!r} of the URL has a value that cannot be read",
                    hint=f"the default is {known[name][1]!r}",
                ) from None
        return values


def has_control_character(text: str) -> bool:
    """Tell whether a text holds a line end, a tab, a NUL or another control character."""
    return _CONTROL.search(text) is not None


def is_host(text: str) -> bool:
    """Tell whether a text is a host's name, an address, or the path of a socket."""
    if text.startswith("/") or _HOST_NAME.fullmatch(text):
        return True
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def positive(text: str) -> int:
    """Read an option that counts something; raise ValueError below 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def seconds(text: str) -> float:
    """Read an option in seconds; raise ValueError unless it is above 0 and below a day."""
    number = float(text)
    if not 0 < number < _DAY:
        raise ValueError(text)
    return number


def _host(text: str) -> Host:
    name, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        name, port = text, ""
    if ":" in name and not (name.startswith("[") and name.endswith("]")):
        # Most likely user:password without an @: taken for a host, it would be shown.
        raise ConfigurationError(
            "the URL has a host with more than one :",
            hint="write user:password@host:port, and an IPv6 address in [brackets]",
        )
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        raise ConfigurationError(
            "the URL has a port that is not a number from 1 to 65535",
            hint=_ENCODE,
        )
    host = Host(unquote(name.strip("[]")), int(port) if port else None)
    if host.name and not is_host(host.name):
        raise ConfigurationError(
            "the URL has a host that is no host name and no address",
            hint=f"write host:port; {_ENCODE}",
        )
    return host
