"""Reads settings: from arguments, variables and files, in this order, with where each is from."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from healthstore.abc.registry import kind_of
from healthstore.config import familiar
from healthstore.config.file import (
    SECTIONS,
    File,
    General,
    find_file,
    read_file,
    read_tree,
    replaced,
)
from healthstore.config.kinds import OPTIONS
from healthstore.config.origin import ARGUMENT, DEFAULT, Fields, Given, Origin, told
from healthstore.config.own import Own, read_own
from healthstore.config.settings import (
    MemberSettings,
    Profile,
    Settings,
    Table,
    named_by_kind,
    parsed,
)
from healthstore.config.variables import Variables, read_dotenv, readable_by_all
from healthstore.errors import ConfigurationError
from healthstore.routing.policy import FailoverPolicy, Probe

__all__ = ("Loaded", "masked", "read_settings")

_LOG = logging.getLogger("healthstore.config")
_DOTENV = ".env"
# From a table of all members to the setting of one.
_POOL = {
    "pool.max_size": "pool_size",
    "pool.acquire_timeout": "acquire_timeout",
    "pool.connect_timeout": "connect_timeout",
    "pool.timeout": "timeout",
}
# What stands outside of every table, for each member that says nothing else.
_EVERYWHERE = frozenset({"coalesce", "slow_seconds"})


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for the name of each value where it comes from."""

    settings: Settings
    origins: Mapping[str, Origin]


@dataclass(frozen=True, slots=True)
class _Layer:
    """What one source says. ``members`` is asked only if no source before it has any."""

    own: Own
    members: Callable[[], list[Fields] | None]


def read_settings(
    *,
    file: str | Path | None = None,
    profile: Profile | str | None = None,
    environ: Mapping[str, str] | None = None,
    dotenv: str | Path | None = _DOTENV,
    overrides: Mapping[str, object] | None = None,
) -> Loaded:
    """Return the settings of this process and where each comes from.

    In order of precedence: ``overrides`` (in the shape of the file) and ``profile``;
    ``HEALTHSTORE_*``; names like ``DATABASE_URL``; both again in ``dotenv``; ``file``, by default
    ``healthstore.toml`` or ``[tool.healthstore]`` of ``pyproject.toml`` in the current folder;
    defaults. ``environ`` is the process's environment by default; ``dotenv`` None reads none.
    Members are replaced as a whole. Raises ConfigurationError, without any value or secret.
    """
    environment = Variables.of_environment(os.environ if environ is None else environ)
    dotfile = _read_dotenv(dotenv)
    path = find_file() if file is None else Path(file)
    stored = None if path is None else read_file(path)
    argument = read_tree(overrides or {}, ARGUMENT)
    if profile is not None:
        argument = read_tree({**(overrides or {}), "profile": profile}, ARGUMENT)
    both = environment.over(dotfile)
    own, own_dotfile = read_own(environment), read_own(dotfile)
    chosen = _profile([argument.values, own.values, own_dotfile.values], stored, both)
    known, begun = familiar.with_dotenv(environment, dotfile)
    layers = [
        _Layer(Own(dict(argument.values)), lambda: argument.members),
        _Layer(own, lambda: own.members),
        _Layer(
            Own(familiar.common(environment)), lambda: familiar.members(known) if begun else None
        ),
        _Layer(own_dotfile, lambda: own_dotfile.members),
        _Layer(Own(familiar.common(dotfile)), lambda: None if begun else familiar.members(known)),
    ]
    if stored is not None:
        content = stored.merged(Profile(str(chosen.value)))
        layers.append(_Layer(Own(dict(content.values)), lambda: _replaced(content.members, both)))
    values: dict[str, Given] = {}
    for layer in reversed(layers):
        values |= layer.own.values
    values["profile"] = chosen
    # Only now: what a variable of a file's value holds matters only if the value is used.
    values = {key: replaced(key, given, both) for key, given in values.items()}
    return _built(values, _members(layers))


def masked(settings: Settings) -> dict[str, object]:
    """Return every value in effect by its name, without secrets."""
    policy = settings.policy
    shown: dict[str, object] = {
        "profile": settings.profile.value,
        "mock": policy.mock.value,
        "evolve": settings.evolve.value,
        "seed": settings.seed,
        "cursor_key": None if settings.cursor_key is None else "***",
        "idempotency_hours": settings.idempotency_hours,
        **{f"failover.{name}": getattr(policy, name) for name in SECTIONS["failover"].model_fields},
        **{f"probe.{each.name}": getattr(policy.probe, each.name) for each in fields(Probe)},
    }
    for member in settings.members:
        for name in MemberSettings.model_fields:
            value = getattr(member, name)
            if name != "name" and value is not None:
                text = str(value) if isinstance(value, Path) else value
                shown[f"members.{member.name}.{name}"] = (
                    "***" if isinstance(value, SecretStr) else text
                )
        shown[f"members.{member.name}.url"] = str(parsed(member.url.get_secret_value()))
    return shown


def _read_dotenv(dotenv: str | Path | None) -> Variables:
    if dotenv is None:
        return Variables({})
    path = Path(dotenv)
    if path.is_file():
        return read_dotenv(path)
    if path == Path(_DOTENV):
        return Variables({})
    raise ConfigurationError(f"the file {path} does not exist", hint="check the path")


def _profile(above: list[Mapping[str, Given]], stored: File | None, variables: Variables) -> Given:
    found = [values["profile"] for values in above if "profile" in values]
    if stored is not None and not found and "profile" in stored.tree:
        given = Given(stored.tree["profile"], Origin(str(stored.path)), refers=True)
        found.append(replaced("profile", given, variables))
    if not found:
        return Given(Profile.DEVELOPMENT, DEFAULT)
    table = _checked(General, "", {"profile": found[0]})
    return Given(getattr(table, "profile"), found[0].origin)  # noqa: B009 - a field of General


def _replaced(members: list[Fields] | None, variables: Variables) -> list[Fields] | None:
    """Return the members of a file with what they refer to."""
    if members is None:
        return None
    found: list[Fields] = []
    for number, member in enumerate(members, start=1):
        label = member["name"].text if "name" in member else str(number)
        found.append(
            {
                key: replaced(f"members.{label}.{key}", given, variables)
                for key, given in member.items()
            }
        )
    return found


def _members(layers: list[_Layer]) -> dict[str, dict[str, Given]]:
    """Return what is given for each member, by name, the active one first."""
    secondaries: list[Fields] | None = None
    first: Given | None = None
    changes: list[Mapping[str, Fields]] = []
    found: list[Fields] | None = None
    for layer in layers:
        changes.append(layer.own.changes)
        first = first or layer.own.first
        found = layer.members()
        if found is not None:
            break
        secondaries = secondaries or layer.own.secondaries
    if secondaries is not None:
        if not found:
            raise ConfigurationError(
                f"{secondaries[0]['url'].origin} is set, but no primary",
                hint="set HEALTHSTORE_PRIMARY",
            )
        found = [found[0], *secondaries]
    members = _named(found or [])
    alone = not members
    for change in reversed(changes):
        _change(members, change)
    if first is not None:
        name = _find(members, first.text)
        if name is None:
            known = ", ".join(members) or "none"
            raise ConfigurationError(
                f"{first.origin} is neither a URL nor the name of a member",
                hint=f"members: {known}",
            )
        members = {name: members[name], **members}
    elif alone and len(members) > 1:
        raise ConfigurationError(
            "HEALTHSTORE_MEMBERS__* name several members, and none of them first",
            hint=f"set HEALTHSTORE_PRIMARY to one of: {', '.join(members)}",
        )
    return members


def _named(members: list[Fields]) -> dict[str, dict[str, Given]]:
    names = [str(each["name"].value) if "name" in each else None for each in members]
    kinds: list[str] = []
    for each in members:
        url = each["url"]
        try:
            kinds.append(kind_of(parsed(url.text)))
        except ConfigurationError as error:
            raise told(error, url.origin) from None
    given = [name for name in names if name is not None]
    for name in given:
        if given.count(name) > 1:
            raise ConfigurationError(
                f"two members are called {name!r}", hint="give one of them another name"
            )
    return {
        name: dict(each) for name, each in zip(named_by_kind(names, kinds), members, strict=True)
    }


def _change(members: dict[str, dict[str, Given]], changes: Mapping[str, Fields]) -> None:
    """Set what variables say about single members; one that has a URL may be new."""
    for label, change in sorted(changes.items()):
        name = _find(members, label)
        if name is None and "url" not in change:
            given = next(iter(change.values()))
            close = get_close_matches(label, list(members), n=1)
            known = ", ".join(members) or "none"
            raise ConfigurationError(
                f"{given.origin} is for a member that there is not",
                hint=f"did you mean {close[0]!r}?" if close else f"members: {known}",
            )
        members.setdefault(name or label, {}).update(change)


def _find(members: Mapping[str, object], label: str) -> str | None:
    """Return the name of a member as a variable can write it: replica-eu as REPLICA_EU."""
    return next((name for name in members if _label(name) == _label(label)), None)


def _label(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def _built(values: Mapping[str, Given], members: dict[str, dict[str, Given]]) -> Loaded:
    general = _checked(
        General, "", {name: values[name] for name in General.model_fields if name in values}
    )
    assert isinstance(general, General)
    tables = {
        section: _checked(
            table,
            section,
            {
                name: values[f"{section}.{name}"]
                for name in table.model_fields
                if f"{section}.{name}" in values
            },
        )
        for section, table in SECTIONS.items()
    }
    try:
        policy = FailoverPolicy(
            **dict(tables["failover"]), mock=general.mock, probe=Probe(**dict(tables["probe"]))
        )
    except ConfigurationError as error:
        wrong = [each for key, each in values.items() if error.message.startswith(f"{key} ")]
        raise told(error, wrong[0].origin if wrong else DEFAULT) from None
    for given in members.values():
        _complete(given, values)
    settings = Settings(
        profile=general.profile,
        members=tuple(_member(name, given) for name, given in members.items()),
        policy=policy,
        evolve=general.evolve,
        seed=general.seed,
        cursor_key=general.cursor_key,
        idempotency_hours=general.idempotency_hours,
    )
    signing = [values["cursor_key"]] if "cursor_key" in values else []
    _require_secret(settings.profile, [*signing, *_secrets(settings.members, members)])
    origins = {key: each.origin for key, each in values.items()} | {
        f"members.{name}.{key}": each.origin
        for name, given in members.items()
        for key, each in given.items()
    }
    effective = {key: origins.get(key, DEFAULT) for key in masked(settings)}
    return Loaded(settings, MappingProxyType(effective))


def _complete(given: dict[str, Given], values: Mapping[str, Given]) -> None:
    """Add what holds for all members, where the member and its URL say nothing else."""
    url = parsed(given["url"].text)
    for key, setting in _POOL.items():
        said = setting in given or {setting, *OPTIONS[setting].native} & url.options.keys()
        if key in values and not said:
            given[setting] = values[key]
    for key in _EVERYWHERE & values.keys():
        given.setdefault(key, values[key])


def _member(name: str, given: Fields) -> MemberSettings:
    plain: dict[str, Any] = {key: each.value for key, each in given.items()}
    try:
        member = MemberSettings.model_validate({**plain, "name": plain.get("name", name)})
        member.backend_url()
    except ConfigurationError as error:
        error.at(backend=name)
        where = given.get(error.field or "")
        raise (told(error, where.origin) if where else error) from None
    return member


def _checked(table: type[Table], section: str, given: Mapping[str, Given]) -> Table:
    """Return the table of these values; raise ConfigurationError with the place of a wrong one."""
    try:
        return table.model_validate({name: each.value for name, each in given.items()})
    except ConfigurationError as error:
        name = error.field or ""
        key = f"{section}.{name}" if section else name
        wrong = ConfigurationError(error.message.replace(repr(name), key, 1), hint=error.hint)
        raise (told(wrong, given[name].origin) if name in given else wrong) from None


def _secrets(members: tuple[MemberSettings, ...], given: Mapping[str, Fields]) -> Iterator[Given]:
    """Yield what holds the password of a member."""
    for member in members:
        fields_of = given[member.name]
        if "password" in fields_of:
            yield fields_of["password"]
        if parsed(member.url.get_secret_value()).password is not None:
            yield fields_of["url"]


def _require_secret(profile: Profile, secrets: Iterable[Given]) -> None:
    """Refuse secrets in files that everybody can read, or warn of them outside of production."""
    for each in secrets:
        files = each.origin.files if profile is Profile.PRODUCTION else ()
        for path in dict.fromkeys((*each.origin.secret_files, *files)):
            if readable_by_all(path):
                _refuse_open(profile, path)


def _refuse_open(profile: Profile, path: Path) -> None:
    if profile is Profile.PRODUCTION:
        raise ConfigurationError(
            f"every user of this machine can read the secret in {path}", hint=f"chmod 600 {path}"
        )
    _LOG.warning("every user of this machine can read the secret in %s: chmod 600 it", path)
