"""The manager: builds members, opens them, names them, and delegates."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from weakref import finalize

from pydantic import SecretStr

from healthstore.abc.backend import Backend, Isolation, UnitOptions
from healthstore.build import Build, build_guard, build_member, build_whole, timeout_of
from healthstore.config.changes import changed_members, new_settings
from healthstore.config.settings import (
    Evolve,
    MemberSettings,
    Profile,
    Settings,
    evolve_of,
    settings_of,
)
from healthstore.entity import Entity, collection_of
from healthstore.errors import (
    ConfigurationError,
)
from healthstore.events import ConfigReloaded, Event, EventBus, EventStream
from healthstore.layers.coalesce import Apart
from healthstore.logs import LEVELS, log_event
from healthstore.model.arguments import listed
from healthstore.model.ops import Ensure, Ensured
from healthstore.model.schema import Collection
from healthstore.repository import Repository
from healthstore.routing.failover import Failover
from healthstore.routing.machine import MOCK
from healthstore.routing.policy import FailoverPolicy, Mock
from healthstore.routing.report import Health
from healthstore.schema import Schema
from healthstore.schema.initialize import ensure_or_evolve
from healthstore.schema.restore import restore
from healthstore.statistics import OperationStatistics, Statistics
from healthstore.switching import (
    Switch,
    SwitchReport,
    bring_back,
    require_confirmed,
    require_durable,
    require_member,
)
from healthstore.transaction import MockFill, Transaction, Work, filled, run, transaction
from healthstore.transfer import (
    BackupReport,
    ClearReport,
    MigrationReport,
    Progress,
    RestoreReport,
    VerificationReport,
    backup,
    clear,
    migrate,
    verify,
)
from healthstore.transfer.place import file_path

__all__ = ("DatabaseManager",)

M = TypeVar("M", bound=Entity)
E = TypeVar("E", bound=Event)
R = TypeVar("R")


class DatabaseManager:
    """One or more members in order, the first of which is active.

    ``urls`` are named by their kind: ``"sqlite"``, ``"postgresql"``, ``"sqlite-2"``; ``members``
    maps names of your own to URLs, and comes after them. ``policy`` says what happens when a
    member fails; by default reads go on at the next one and writes are refused. ``layers`` are
    laid directly over each member's adapter, for repositories: transfers see every row around
    them. ``mock_fill`` fills the mock, if the policy has one, when the entities are initialized.
    Without ``coalesce``, requests of several tasks are never sent together. ``settings`` are all
    of that but ``layers`` and ``mock_fill``, made elsewhere, and ``reread`` reads them again for
    :meth:`reload`. Use the manager with ``async with``, or call :meth:`open` and
    :meth:`close`. Raises ConfigurationError for anything that cannot be used.
    """

    def __init__(  # noqa: PLR0913 - each has a default
        self,
        *urls: str,
        members: Mapping[str, str] | None = None,
        policy: FailoverPolicy | None = None,
        profile: Profile | str = Profile.DEVELOPMENT,
        settings: Settings | None = None,
        reread: Callable[[], Settings] | None = None,
        layers: Sequence[Build] = (),
        mock_fill: MockFill | None = None,
        coalesce: bool = True,
    ) -> None:
        given = settings or settings_of(
            urls, members or {}, policy=policy, profile=profile, coalesce=coalesce
        )
        self._settings = given
        self._reread = reread
        self._layers = tuple(layers)
        self._mock_fill = mock_fill
        self._initialized = False
        self._statistics = Statistics()
        self._bus = EventBus()
        for kind in LEVELS:
            self._bus.on(kind, log_event)
        self._mock: Backend | None = None
        if given.policy.mock is not Mock.OFF:
            mock = MemberSettings(name=MOCK, url=SecretStr("memory://"))
            self._mock = build_member(mock, self._bus, self._statistics)
        self._failover = Failover(
            {each.name: self._built(each) for each in given.members},
            given.policy.resolved(len(given.members)),
            self._bus.emit,
            self._mock,
            {each.name: timeout_of(each) for each in given.members},
        )
        self._guarded = build_guard(self._failover, self._failover.seconds)
        # Repositories hold it, too: without them and this manager nobody can close the members.
        finalize(self._guarded, self._failover.unreachable)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        layers: Sequence[Build] = (),
        mock_fill: MockFill | None = None,
    ) -> Self:
        """Return a manager for settings that were read or made elsewhere."""
        return cls(settings=settings, layers=layers, mock_fill=mock_fill)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        layers: Sequence[Build] = (),
        mock_fill: MockFill | None = None,
    ) -> Self:
        """Return a manager as the environment says; see the configuration reference."""
        from healthstore.config.read import read_settings  # noqa: PLC0415 - slow to import

        def read() -> Settings:
            return read_settings(environ=environ).settings

        return cls(settings=read(), reread=read, layers=layers, mock_fill=mock_fill)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        *,
        profile: Profile | str | None = None,
        environ: Mapping[str, str] | None = None,
        layers: Sequence[Build] = (),
        mock_fill: MockFill | None = None,
    ) -> Self:
        """Return a manager as a TOML file says, under what the environment says."""
        from healthstore.config.read import read_settings  # noqa: PLC0415 - slow to import

        def read() -> Settings:
            return read_settings(file=file_path(path), profile=profile, environ=environ).settings

        return cls(settings=read(), reread=read, layers=layers, mock_fill=mock_fill)

    def _built(self, settings: MemberSettings) -> Backend:
        return build_member(settings, self._bus, self._statistics, self._layers)

    # --- members ---------------------------------------------------------------------------

    @property
    def members(self) -> tuple[str, ...]:
        """The names of the members, in order."""
        return tuple(self._failover.members)

    @property
    def active(self) -> str:
        """The name of the member that serves reads and writes when all is well."""
        return self._failover.route.active

    @property
    def reads(self) -> str | None:
        """The name of the member that serves reads now; ``"mock"`` is the mock, None nobody."""
        return self._failover.route.reads

    @property
    def writes(self) -> str | None:
        """The name of the member that takes writes now; ``"mock"`` is the mock, None nobody."""
        return self._failover.route.writes

    @property
    def profile(self) -> Profile:
        """What the data is for."""
        return self._settings.profile

    @property
    def schema(self) -> Schema:
        """How the members' definitions compare with those of the entities."""
        return Schema(self._open_member, lambda: self.members, self._failover.filling, self.profile)

    # --- life ------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the active member and start the checks; does nothing when open.

        A manager belongs to the event loop in which it was opened. One that was not closed there
        is closed, with a ResourceWarning, when that ends or when nobody can use it any more; it
        can be opened again in another one. Raises what opening the member raises, unless the
        policy is to start degraded.
        """
        await self._failover.open()
        self._bus.begin()

    async def close(self) -> None:
        """Let requests end, then close every member, also if closing one of them fails.

        Requests that have not ended within the policy's ``drain`` fail. Does nothing when
        closed.
        """
        try:
            await self._failover.close()
        finally:
            self._bus.end()

    # --- data ------------------------------------------------------------------------------

    def repository(self, entity: type[M], *, coalesce: bool = True) -> Repository[M]:
        """Return the entity's repository; who serves it may change from call to call.

        Without ``coalesce``, its requests are never sent together with those of other tasks.
        """
        backend = self._guarded if coalesce else Apart(self._guarded)
        key, remembered = self._settings.signing_key, self._settings.remembered
        return Repository(
            entity, backend, cursor_key=key, source=self._guarded, remembered=remembered
        )

    async def initialize(
        self, *entities: type[Entity], evolve: Evolve | str | None = None
    ) -> Ensured:
        """Create on the active member what the entities need, and check what is there.

        A collection of another definition is altered if ``evolve``, by default the setting of
        that name, is ``"additive"`` and no document can stand against it: see
        :meth:`healthstore.schema.Schema.evolve`. Raises SchemaMismatchError otherwise.
        """
        evolves = self._settings.evolve if evolve is None else evolve_of(evolve)
        ensure = Ensure(tuple(collection_of(entity) for entity in entities))
        if self._mock is not None:
            mock = build_guard(self._mock)
            on_mock = await mock.execute(ensure)
            fill, self._mock_fill = self._mock_fill, None  # once
            if fill is not None:
                await filled(mock, fill)
            if self.reads == MOCK:
                self._failover.missed(ensure)
                return on_mock
        if evolves is Evolve.ADDITIVE:
            whole = await self._open_member(None)
            ensured = await ensure_or_evolve(self._guarded, ensure, whole)
        else:
            ensured = await self._guarded.execute(ensure)
        self._initialized = True
        return ensured

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: Isolation = Isolation.SNAPSHOT,
        read_only: bool = False,
        deadline: float = 30.0,
    ) -> AsyncGenerator[Transaction, None]:
        """Run a block as one unit: commit at its end, roll back if it raises.

        ``deadline`` is in seconds. A SerializationError says that the block can be repeated.
        The unit stays on the member on which it began.
        """
        options = UnitOptions(isolation=isolation, read_only=read_only, deadline=deadline)
        async with transaction(
            self._guarded, options, self._settings.signing_key, self._settings.remembered
        ) as unit:
            yield unit

    async def run(
        self,
        work: Work[R],
        *,
        attempts: int = 8,
        isolation: Isolation = Isolation.SNAPSHOT,
        read_only: bool = False,
        deadline: float = 30.0,
    ) -> R:
        """Do ``await work(tx)`` as one unit, and return what it returned; again if it gave way.

        A unit that raised a ConflictError kept nothing: the whole is done again, at most
        ``attempts`` times, with pauses of random length, until ``deadline`` seconds have passed.
        So ``work`` may be called several times: what it does elsewhere is for after the return.
        A StaleVersionError is raised at once, for the same call would fail again, and so is
        whatever else it raises. A commit of which no answer came raises OutcomeUnknownError and
        is never repeated.
        """
        options = UnitOptions(isolation=isolation, read_only=read_only, deadline=deadline)
        key, remembered = self._settings.signing_key, self._settings.remembered
        return await run(
            self._guarded, work, options, attempts=attempts, cursor_key=key, remembered=remembered
        )

    # --- what is going on ------------------------------------------------------------------

    def on(self, kind: type[E], handler: Callable[[E], None]) -> None:
        """Call ``handler`` with every event of this type from now on; ``Event`` means all."""
        self._bus.on(kind, handler)

    def events(self, *kinds: type[Event]) -> EventStream:
        """Return events of these types from now on, for ``async for``.

        Without types: of all but OperationFinished, which comes with every operation. The
        stream ends when it, or the manager, is closed.
        """
        return self._bus.stream(*kinds)

    def statistics(self) -> tuple[OperationStatistics, ...]:
        """Return counts, errors and times of each operation on each member."""
        return self._statistics.snapshot()

    async def health(self, *, probe: bool = False) -> Health:
        """Return what the checks last saw, without I/O; with ``probe``, check first."""
        if probe:
            await self._failover.probe()
        kinds = {each.name: each.kind for each in self._settings.members}
        return self._failover.health(
            kinds, profile=str(self._settings.profile), initialized=self._initialized
        )

    def alive(self) -> bool:
        """Tell whether the manager is open: no database is asked, so none can restart a pod."""
        return self._failover.is_open

    def ready(self) -> bool:
        """Tell, without I/O, whether requests are served: by a member, or a mock that may."""
        reads = self._failover.route.reads
        if not self._failover.is_open or reads is None:
            return False
        return reads != MOCK or self._settings.policy.mock is Mock.ON

    # --- changing members ------------------------------------------------------------------

    async def switch(
        self, name: str, *, dry_run: bool = False, verify: bool = True, force: bool = False
    ) -> SwitchReport:
        """Make another member the active one, if it is well and has every document.

        Every document is compared first; then writes are held back, reads go on, and what was
        written meanwhile is compared. Without ``verify`` only counts, versions and latest
        changes are compared, which a deleted and added document can deceive. With ``force`` a
        member may also take over from one that is not up, and so cannot be compared.

        The active member itself is brought back where failback is manual, or it was in
        quarantine. ``dry_run`` only reports. Raises UnavailableError if the member is not fit,
        VerificationError if it is behind. Other processes are not told: change the
        configuration, too.
        """
        require_member(name, self.members)
        if name == self.active:
            return await bring_back(self._failover, dry_run=dry_run)
        switch = Switch(
            self._failover, self._two, self.active, name, with_documents=verify, force=force
        )
        read_only = self._settings_of(name).read_only
        obstacles = [f"{name} is configured read-only"] if read_only else []
        return await switch.run(obstacles, dry_run=dry_run)

    async def reload(self, settings: Settings | None = None) -> ConfigReloaded:
        """Read the configuration again and rebuild the members whose settings changed.

        For rotated passwords and changed options: the names of the members, their order and the
        policy stay. Requests under way end on the old connections. Nothing changes if it raises:
        ConfigurationError if more than that changed or nothing can be read again, and what
        opening a member raises; one that is down is opened when it is up again.
        """
        settings = new_settings(settings, self._reread)
        changed = changed_members(self._settings, settings)
        new = {each.name: each for each in settings.members if each.name in changed}
        require_durable({name: self._failover.members[name] for name in changed})
        await self._failover.changes.exchange(
            {name: self._built(each) for name, each in new.items()},
            {name: timeout_of(each) for name, each in new.items()},
        )
        self._settings = settings
        event = ConfigReloaded(changed)
        self._bus.emit(event)
        return event

    async def member(self, name: str) -> Backend:
        """Return a member by name, opened, as transfers use it.

        That is every row: without the guard, and without this manager's ``layers``.
        """
        require_member(name, self.members)
        member = await self._failover.member(name)
        return build_whole(member, self._settings_of(name), self._bus, self._statistics)

    async def _open_member(self, name: str | None) -> Backend:
        return await self.member(self.active if name is None else name)

    async def _two(self, left: str, right: str) -> tuple[Backend, Backend]:
        """Return two members, opened, as transfers use them.

        Raises ConfigurationError if they are one database: a store agrees with itself.
        """
        if left == right:
            raise ConfigurationError(
                f"both are the same member, {left!r}", hint="name two", backend=left
            )
        ends = await self.member(left), await self.member(right)
        self._settings.require_different_stores()
        return ends

    def _settings_of(self, name: str) -> MemberSettings:
        return {each.name: each for each in self._settings.members}[name]

    # --- transfers -------------------------------------------------------------------------

    async def migrate(  # noqa: PLR0913 - options are keywords, each with a default
        self,
        source: str,
        target: str,
        entities: Iterable[type[Entity]] | None = None,
        *,
        replace: bool = False,
        confirm: str | None = None,
        on_event: Progress | None = None,
    ) -> MigrationReport:
        """Copy collections from one member to another, and verify them by reading back.

        Without ``entities``, every collection of the source is copied. The target must be empty;
        with ``replace`` it is emptied first, which is to be confirmed as in :meth:`clear`.
        """
        if replace:
            require_confirmed(target, confirm, self.profile)
        chosen = _collections(entities)
        ends = await self._two(source, target)
        async with self._failover.filling(target):
            return await migrate(*ends, chosen, replace=replace, on_event=on_event)

    async def clear(
        self,
        name: str,
        entities: Iterable[type[Entity]] | None = None,
        *,
        confirm: str | None = None,
    ) -> ClearReport:
        """Remove every document of a member, or of some entities there; the definitions stay.

        In the profile production that is refused unless ``confirm`` is the member's name. What
        a transfer has left half full can be filled again then. Raises ForeignKeyError, before
        anything is removed, if documents of another entity refer to what is to go.
        """
        require_confirmed(name, confirm, self.profile)
        backend = await self.member(name)
        async with self._failover.filling(name):
            return await clear(backend, _collections(entities))

    async def verify(
        self,
        left: str,
        right: str,
        entities: Iterable[type[Entity]] | None = None,
        *,
        on_event: Progress | None = None,
    ) -> VerificationReport:
        """Compare two members, document by document; the report says where they differ."""
        ends = await self._two(left, right)
        return await verify(*ends, _collections(entities), on_event=on_event)

    async def backup(
        self,
        path: str | Path,
        entities: Iterable[type[Entity]] | None = None,
        *,
        source: str | None = None,
        on_event: Progress | None = None,
    ) -> BackupReport:
        """Write a member (the active one by default) to one JSON file, atomically."""
        backend = await self._open_member(source)
        return await backup(backend, path, _collections(entities), on_event=on_event)

    async def restore(  # noqa: PLR0913 - options are keywords, each with a default
        self,
        path: str | Path,
        *,
        into: str | None = None,
        entities: Iterable[type[Entity]] | None = None,
        migrations: str | Path | None = None,
        allow_loss: bool = False,
        on_event: Progress | None = None,
    ) -> RestoreReport:
        """Check a backup from end to end, then load it into a member and verify it.

        With ``migrations``, a folder, it may be of an earlier release: it is loaded as it is into
        an empty member, which is then upgraded to the head, as by
        :meth:`healthstore.schema.Schema.upgrade`.
        """
        name = self.active if into is None else into
        backend, chosen = await self.member(name), _collections(entities)
        async with self._failover.filling(name):
            return await restore(
                path,
                backend,
                chosen,
                migrations=migrations,
                allow_loss=allow_loss,
                on_event=on_event,
            )


def _collections(entities: Iterable[type[Entity]] | None) -> tuple[Collection, ...] | None:
    if entities is None:
        return None
    named = listed(entities, "what is to be transferred", "entities=[User, Weight]")
    return tuple(collection_of(entity) for entity in named)
