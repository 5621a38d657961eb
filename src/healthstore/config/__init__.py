"""Configuration: from arguments, variables and files to checked settings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from healthstore.config.settings import (
    Evolve,
    MemberSettings,
    Profile,
    Settings,
    settings_of,
)

if TYPE_CHECKING:
    from healthstore.config.origin import Origin
    from healthstore.config.read import Loaded, read_settings

__all__ = (
    "Evolve",
    "Loaded",
    "MemberSettings",
    "Origin",
    "Profile",
    "Settings",
    "read_settings",
    "settings_of",
)

# What reads sources takes longer to import, and a manager of URLs has no need of it.
_HOMES = {"Loaded": "read", "Origin": "origin", "read_settings": "read"}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
