"""Settings: plain values, checked as a whole before anything is opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from itertools import combinations, count
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)

from healthstore.abc.registry import BUILT_IN, kind_of, schemes
from healthstore.abc.url import BackendURL, has_control_character
from healthstore.config.kinds import OPTIONS, Option, is_durable, store
from healthstore.errors import ConfigurationError, InvalidRequestError
from healthstore.routing.machine import MOCK
from healthstore.routing.policy import FailoverMode, FailoverPolicy, Mock

__all__ = (
    "CursorKey",
    "Evolve",
    "IdempotencyHours",
    "MemberOptions",
    "MemberSettings",
    "Profile",
    "Seed",
    "Settings",
    "Table",
    "evolve_of",
    "named_by_kind",
    "parsed",
    "settings_of",
)

Seconds = Annotated[float, Field(gt=0, lt=86_400)]
# Settings of a member that a probe's must not exceed.
_PROBED = (("query_timeout", "timeout"), ("connect_timeout", "connect_timeout"))


class Profile(StrEnum):
    """Where the program runs. ``production`` refuses what would lose data silently."""

    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class Evolve(StrEnum):
    """What ``initialize`` does with a collection of another definition."""

    OFF = "off"
    """It is refused."""
    ADDITIVE = "additive"
    """It is altered, if no document can stand against the change."""


def _named_function(text: str) -> str:
    module, mark, function = text.partition(":")
    parts = (*module.split("."), function)
    if not (mark and all(each.isidentifier() for each in parts)):
        raise ConfigurationError(
            "'seed' names no function",
            hint="write module:function, for example app.seeds:run",
            field="seed",
        )
    return text


Seed = Annotated[str, AfterValidator(_named_function)]
"""A function that fills a store, as ``module:function``."""


_SHORTEST_KEY = 16  # characters


def _long_key(key: SecretStr) -> SecretStr:
    if len(key.get_secret_value()) < _SHORTEST_KEY:
        raise ConfigurationError(
            f"'cursor_key' is shorter than {_SHORTEST_KEY} characters",
            hint="make one that nobody guesses: python -c 'import secrets; "
            "print(secrets.token_urlsafe(32))'",
            field="cursor_key",
        )
    return key


CursorKey = Annotated[SecretStr, AfterValidator(_long_key)]
"""A secret that signs the positions of pages."""

IdempotencyHours = Annotated[float, Field(gt=0, le=8_784)]
"""How long a request with an idempotency key is remembered, at most a year."""


class Table(BaseModel):
    """A model whose mistakes are ConfigurationErrors that name the field, never the value."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    @model_validator(mode="wrap")
    @classmethod
    def _refuse(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            refusal = _refusal(error, tuple(cls.model_fields))
        # Outside of the block: pydantic's error holds the value, and would be its context.
        raise refusal

    def __setattr__(self, name: str, value: object) -> None:
        # Pydantic's own error would show the value.
        raise AttributeError(f"{name!r} cannot be set: settings are frozen")


class MemberOptions(Table):
    """What can be set for a member besides its name and URL. Times are in seconds.

    ``None`` leaves it to the URL's own options or the backend's default. ``tls``: ``verify``
    checks the certificate and the host's name, ``encrypt`` neither; ``tls_ca`` is the path of
    the authority's certificate. A ``read_only`` member never becomes the active one by itself.
    Operations of ``slow_seconds`` or more are reported as slow. With ``coalesce``, requests of
    several tasks that wait at once are sent together, where the backend gains by it.
    """

    pool_size: Annotated[int, Field(ge=1, le=10_000)] | None = None
    acquire_timeout: Seconds | None = None
    connect_timeout: Seconds | None = None
    timeout: Seconds | None = None
    tls: Literal["verify", "encrypt", "off"] | None = None
    tls_ca: Path | None = None
    read_only: bool = False
    slow_seconds: Annotated[float, Field(ge=0, le=86_400)] = 0.5
    coalesce: bool = True
    password: SecretStr | None = None


class MemberSettings(MemberOptions):
    """One member: its name, where it is, and how it is used."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z][\w.-]*$")]
    url: SecretStr

    @property
    def kind(self) -> str:
        """The kind of backend, as in ``"postgresql"``."""
        return kind_of(self._parsed())

    def backend_url(self) -> BackendURL:
        """Return the URL with what is set besides it.

        Raises ConfigurationError for a URL that cannot be used, and for a setting of which the
        URL says something else.
        """
        url = self._parsed()
        self._require_server(url)
        options = dict(url.options)
        for setting, option in OPTIONS.items():
            value = getattr(self, setting)
            if value is not None:
                self._merge(options, setting, option, value)
        return replace(url, password=self._password(url), options=options)

    def _require_server(self, url: BackendURL) -> None:
        """Refuse what only a server has: it would protect nothing, and look as if it did."""
        built_in = BUILT_IN.get(url.scheme)
        if built_in is None or built_in.port is not None:
            return
        given = {
            "password": self.password is not None or url.password is not None,
            "tls": self.tls is not None,
            "tls_ca": self.tls_ca is not None,
        }
        for setting, is_given in given.items():
            if is_given:
                raise ConfigurationError(
                    f"{setting!r} is set, and {built_in.kind} has none",
                    hint="leave it out; the modes of files and folders protect a store on disk",
                    field=setting,
                    backend=self.name,
                )

    def _parsed(self) -> BackendURL:
        try:
            return parsed(self.url.get_secret_value())
        except ConfigurationError as error:
            raise error.at(field="url", backend=self.name) from None

    def _merge(self, options: dict[str, str], setting: str, option: Option, value: object) -> None:
        for name in (setting, *option.native):
            if name in options and (
                name != setting or not _same(option.read, options[name], value)
            ):
                raise ConfigurationError(
                    f"the option {name!r} of the URL and the setting {setting!r} differ",
                    hint="give only one of them",
                    field=setting,
                    backend=self.name,
                )
        options[setting] = str(value)

    def _password(self, url: BackendURL) -> str | None:
        if self.password is None:
            return url.password
        password = self.password.get_secret_value()
        if has_control_character(password):
            raise ConfigurationError(
                "the password holds a control character",
                hint="a line end, a tab or a NUL: look how it is put together",
                field="password",
                backend=self.name,
            )
        if url.password not in {None, password}:
            raise ConfigurationError(
                "the password in the URL and the setting 'password' differ",
                hint="give only one of them",
                field="password",
                backend=self.name,
            )
        return password


class Settings(Table):
    """Everything that a manager is built from; the first member is the active one.

    Raises ConfigurationError, without any value, for what cannot work or would lose data: see
    docs/reference/configuration.md.
    """

    profile: Profile = Profile.DEVELOPMENT
    members: tuple[MemberSettings, ...]
    policy: FailoverPolicy = Field(default_factory=FailoverPolicy)
    evolve: Evolve = Evolve.OFF
    seed: Seed | None = None
    cursor_key: CursorKey | None = None
    idempotency_hours: IdempotencyHours = 24

    @property
    def remembered(self) -> timedelta:
        """How long a request with an idempotency key is remembered."""
        return timedelta(hours=self.idempotency_hours)

    @property
    def signing_key(self) -> bytes | None:
        """The bytes that sign positions; None where nothing does."""
        return None if self.cursor_key is None else self.cursor_key.get_secret_value().encode()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.members:
            raise ConfigurationError(
                "no member is given",
                hint="pass a URL, as in sqlite:///app.db, or set HEALTHSTORE_PRIMARY",
            )
        _require_names(self.members)
        urls = {each.name: each.backend_url() for each in self.members}
        self.require_different_stores()
        if self.profile is Profile.PRODUCTION:
            _require_durable(urls, self.policy)
        if self.policy.mode is FailoverMode.STANDBY_READONLY and len(self.members) == 1:
            raise ConfigurationError(
                "failover.mode is 'standby_readonly', but there is only one member",
                hint="add a second member, or set the mode to 'none'",
            )
        for name, url in urls.items():
            _require_short_probes(name, url, self.policy)
        return self

    def require_different_stores(self) -> None:
        """Raise ConfigurationError if two members are one database.

        When they are open that may be known better: two paths may lead to one new file.
        """
        stores = {each.name: store(each.backend_url()) for each in self.members}
        for left, right in combinations(stores, 2):
            if stores[left] is not None and stores[left] == stores[right]:
                raise ConfigurationError(
                    f"members {left!r} and {right!r} are the same database",
                    hint="leave one of them out: a copy of its own data protects nobody",
                )


def settings_of(
    urls: Sequence[str] = (),
    members: Mapping[str, str] | None = None,
    policy: FailoverPolicy | None = None,
    profile: Profile | str = Profile.DEVELOPMENT,
    *,
    coalesce: bool = True,
) -> Settings:
    """Return the settings of members given as URLs.

    ``urls`` are named by their kind: ``"sqlite"``, ``"postgresql"``, ``"sqlite-2"``; ``members``
    maps names to URLs and comes after them. Raises ConfigurationError.
    """
    if isinstance(urls, str):
        raise ConfigurationError("'urls' is one text, not several", hint="pass a list of URLs")
    if not isinstance(members, Mapping | None):
        raise ConfigurationError(
            "'members' does not map names to URLs",
            hint='as in {"main": "sqlite:///app.db"}; URLs without names are given one by one',
        )
    drafts: list[tuple[str | None, str]] = [(None, text) for text in urls]
    drafts += (members or {}).items()
    names = named_by_kind(
        [name for name, _ in drafts], [kind_of(parsed(text)) for _, text in drafts]
    )
    return Settings.model_validate(
        {
            "profile": profile,
            "members": tuple(
                MemberSettings(name=name, url=SecretStr(text), coalesce=coalesce)
                for name, (_, text) in zip(names, drafts, strict=True)
            ),
            "policy": policy or FailoverPolicy(),
        }
    )


def evolve_of(given: Evolve | str) -> Evolve:
    """Return what is asked of ``initialize``; raise InvalidRequestError if it is neither."""
    try:
        return Evolve(given)
    except ValueError:
        raise InvalidRequestError(
            "evolve is neither 'off' nor 'additive'", hint='pass evolve="additive"'
        ) from None


def parsed(text: str) -> BackendURL:
    """Return the parsed URL; raise ConfigurationError also if no backend has its scheme."""
    url = BackendURL.parse(text)
    if url.scheme not in BUILT_IN and url.scheme not in schemes():
        close = get_close_matches(url.scheme, schemes(), n=1)
        raise ConfigurationError(
            f"no backend is known for the scheme {url.scheme!r}",
            hint=f"did you mean {close[0]!r}?"
            if close
            else f"known schemes: {', '.join(schemes())}",
        )
    return url


def named_by_kind(names: Sequence[str | None], kinds: Sequence[str]) -> list[str]:
    """Return a name for each member: its own, or its kind with a number where that is taken."""
    taken = {name for name in names if name is not None}
    found: list[str] = []
    for name, each in zip(names, kinds, strict=True):
        chosen = name
        if chosen is None:
            options = (each if number == 1 else f"{each}-{number}" for number in count(1))
            chosen = next(option for option in options if option not in taken)
            taken.add(chosen)
        found.append(chosen)
    return found


def _refusal(error: ValidationError, known: Sequence[str]) -> ConfigurationError:
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"][:1])
    if first["type"] == "extra_forbidden":
        close = get_close_matches(place, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        return ConfigurationError(f"there is no setting {place!r}", hint=hint)
    # Behind a comma pydantic may quote a part of what it could not parse.
    reason = first["msg"] if first["type"] in {"enum", "literal_error"} else _short(first["msg"])
    reason = reason.removeprefix("Input ").removeprefix("should be ")
    what = repr(place) if place else "the value"
    must_be = first["msg"].startswith("Input should be ")
    return ConfigurationError(
        f"{what} must be {reason}" if must_be else f"{what}: {reason}", field=place or None
    )


def _short(message: str) -> str:
    return message.partition(", ")[0]


def _same(read: Callable[[str], object], text: str, value: object) -> bool:
    try:
        return read(text) == (str(value) if isinstance(value, Path) else value)
    except ValueError:
        return False


def _require_names(members: Iterable[MemberSettings]) -> None:
    names: set[str] = set()
    for each in members:
        if each.name == MOCK:
            raise ConfigurationError(
                f"no member may be called {MOCK!r}", hint="it is the name of the mock"
            )
        if each.name in names:
            raise ConfigurationError(
                f"two members are called {each.name!r}", hint="give one of them another name"
            )
        names.add(each.name)


def _require_durable(urls: Mapping[str, BackendURL], policy: FailoverPolicy) -> None:
    if policy.mock is not Mock.OFF:
        raise ConfigurationError(
            f"mock is {policy.mock.value!r} in the profile 'production'",
            hint="set mock to 'off': invented data must not be served there",
        )
    for name, url in urls.items():
        if not is_durable(url):
            raise ConfigurationError(
                f"member {name!r} keeps nothing, and the profile is 'production'",
                hint="use a store on disk, or another profile",
            )


def _require_short_probes(name: str, url: BackendURL, policy: FailoverPolicy) -> None:
    for probed, setting in _PROBED:
        limit = _seconds(url.options.get(setting))
        if limit is not None and getattr(policy.probe, probed) > limit:
            raise ConfigurationError(
                f"probe.{probed} is longer than {setting!r} of member {name!r}",
                hint=f"a check that outlasts what it checks finds nothing: shorten probe.{probed}",
            )


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None  # the adapter says what is wrong with it
