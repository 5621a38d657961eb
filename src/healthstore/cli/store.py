"""Which store a command works on: by ``--url``, by ``--config``, or as the environment says."""

# ruff: noqa: PLC0415 - what reads settings takes a while to import, and --help does not need it

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.output import events_unlogged
from healthstore.routing.policy import FailoverMode, FailoverPolicy, Mock, Probe, Startup

if TYPE_CHECKING:
    from healthstore.config import Settings
    from healthstore.manager import DatabaseManager

__all__ = ("TRANSFER", "Store")

# Members of a transfer do not stand in for each other, and their checks write nothing.
TRANSFER = FailoverPolicy(
    mode=FailoverMode.NONE, probe=Probe(canary_every=0, figures_every=0), drain=1.0
)

_PATIENCE = 3.0  # seconds for the first member: who looks at a store wants to know soon


@dataclass(frozen=True, slots=True)
class Store:
    """The options by which a command is told where its store is."""

    urls: Sequence[str] = ()
    config: Path | None = None
    profile: str | None = None

    def and_urls(self, *urls: str | None) -> Store:
        """Return the same with these URLs first, as far as there are such."""
        return replace(self, urls=(*(each for each in urls if each), *self.urls))

    def settings(self) -> Settings:
        """Return the settings: of the URLs in their order, of the file, or of the environment.

        Raises CommandError if both URLs and a file are given, and ConfigurationError for what
        they hold.
        """
        from healthstore.config import read_settings, settings_of

        if self.urls and self.config:
            hint = "give one of them; a file may name any number of members"
            raise CommandError(Failure("--url and --config exclude each other", hint=hint))
        if self.urls:
            return settings_of(self.urls, profile=self.profile or "development")
        return read_settings(file=self.config, profile=self.profile).settings

    def whole_settings(self) -> Settings:
        """Return the settings, of which URLs replace the members and nothing else.

        So what a file or the environment says of the profile holds for a URL, too. Raises as
        :meth:`settings`.
        """
        from healthstore.config import read_settings

        if not self.urls or self.config:
            return self.settings()
        given = {"members": list(self.urls), "failover": {"mode": "none"}, "mock": "off"}
        return read_settings(profile=self.profile, overrides=given).settings

    def manager(self) -> DatabaseManager:
        """Return a manager for the settings, not opened."""
        from healthstore.manager import DatabaseManager

        return DatabaseManager.from_settings(self.settings())

    @asynccontextmanager
    async def observed(
        self, settings: Settings | None = None
    ) -> AsyncGenerator[DatabaseManager, None]:
        """Lend an open manager for looking at the store; its events are not logged.

        It opens also when members are down, has no mock, and does not write by itself. Raises CommandError if a member's file is not there: opening would make it.
        """
        from healthstore.cli.named import require_stored
        from healthstore.manager import DatabaseManager

        settings = settings or self.settings()
        for member in settings.members:
            require_stored(member.backend_url())
        policy = replace(
            settings.policy,
            startup=Startup.DEGRADED,
            startup_timeout=_PATIENCE,
            mock=Mock.OFF,
            probe=replace(settings.policy.probe, canary_every=0),
        )
        settings = settings.model_copy(update={"policy": policy})
        with events_unlogged():
            async with DatabaseManager.from_settings(settings) as db:
                yield db
