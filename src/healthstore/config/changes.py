"""Changes: which members other settings concern, and what may not change while a manager runs."""

from __future__ import annotations

from collections.abc import Callable

from healthstore.config.kinds import store
from healthstore.config.settings import Settings
from healthstore.errors import ConfigurationError, InvalidRequestError

__all__ = ("changed_members", "new_settings")


def changed_members(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the names of the members whose settings changed.

    Raises ConfigurationError if more changed than settings of members: their names, their order,
    the policy, or the database that one of them names.
    """
    before = {each.name: each for each in old.members}
    after = {each.name: each for each in new.members}
    if list(before) != list(after) or old.policy != new.policy:
        raise ConfigurationError(
            "members or the policy changed, not only settings of members",
            hint="start a new manager with the new configuration",
        )
    changed = tuple(name for name in after if after[name] != before[name])
    for name in changed:
        if store(before[name].backend_url()) != store(after[name].backend_url()):
            raise ConfigurationError(
                f"{name} names another database now",
                hint="start a new manager; or make it a member, copy, and switch()",
                backend=name,
            )
    return changed


def new_settings(given: object, read: Callable[[], Settings] | None) -> Settings:
    """Return the settings that are given or, if none are, what is read again.

    Raises ConfigurationError if nothing can be read again, and InvalidRequestError for something
    else than settings.
    """
    if given is None:
        if read is None:
            raise ConfigurationError(
                "there is nothing to read again",
                hint="pass the new settings, or make the manager by from_env() or from_file()",
            )
        given = read()
    if not isinstance(given, Settings):
        raise InvalidRequestError(
            "reload takes settings", hint="pass Settings, or nothing to read them again"
        )
    return given
