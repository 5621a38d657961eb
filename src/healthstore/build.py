"""From settings to members, and from members to one backend: the order of the layers.

A member is Retry over Monitor over the program's own layers over Catalog over Coalesce over its
adapter.
Failover gives each request one deadline for all its attempts. The guard lies over whatever a
repository talks to. Transfers go to the store itself, around the program's layers, Catalog and
Coalesce: Timeout over Retry over Monitor. See :mod:`healthstore.abc.layer` for ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import takewhile

from healthstore.abc.backend import Backend
from healthstore.abc.layer import Layer, stack
from healthstore.abc.registry import connect
from healthstore.config.settings import MemberSettings
from healthstore.errors import ConfigurationError
from healthstore.events import EventBus
from healthstore.layers.catalog import CatalogLayer, CatalogNoticeLayer
from healthstore.layers.coalesce import CoalesceLayer
from healthstore.layers.guard import GuardLayer
from healthstore.layers.monitor import MonitorLayer
from healthstore.layers.read_only import ReadOnlyLayer
from healthstore.layers.references import ReferencesLayer
from healthstore.layers.retry import RetryLayer
from healthstore.layers.timeout import TimeoutLayer
from healthstore.statistics import Statistics

__all__ = ("Build", "build_guard", "build_member", "build_whole", "timeout_of")

Build = Callable[[Backend], Layer]
_TIMEOUT = 30.0  # seconds, where the settings say nothing


def build_member(
    settings: MemberSettings,
    bus: EventBus,
    statistics: Statistics,
    layers: Sequence[Build] = (),
) -> Backend:
    """Return the member for its settings, not opened: what serves repositories.

    ``layers`` are laid directly over the adapter, the outermost first. Raises ConfigurationError
    for one that is part of the store and lies over one that is not, or does not say so itself.
    """
    parts = list(takewhile(_is_part, reversed(layers)))[::-1]
    views = layers[: len(layers) - len(parts)]
    store = stack(connect(settings.backend_url(), settings.name), parts)
    coalesced = partial(CoalesceLayer, seconds=timeout_of(settings))
    # Who may not write keeps no lease either: nothing waits for a reader.
    leased = partial(CatalogLayer, leases=not settings.read_only)
    inmost: list[Build] = [leased, *([coalesced] if settings.coalesce else [])]
    member = stack(store, [*_own(settings, bus, statistics), *views, *inmost])
    for layer in takewhile(lambda each: not isinstance(each, CatalogLayer), _layers(member)):
        if layer.part_of_store:
            raise ConfigurationError(
                f"{type(layer).__name__} is part of the store, but lies over what is not, or is "
                "built by a function that does not say so",
                hint="put it last, as the class itself or as functools.partial of it",
            )
    return member


def _is_part(build: Build) -> bool:
    """Tell whether what is built is part of the store: its class says so, also in a partial."""
    made = build.func if isinstance(build, partial) else build
    return bool(getattr(made, "part_of_store", False))


def build_whole(
    member: Backend, settings: MemberSettings, bus: EventBus, statistics: Statistics
) -> Backend:
    """Return the store of a member as transfers use it: every row, each request with a deadline.

    It is open while the member is.
    """
    bounded = partial(TimeoutLayer, seconds=timeout_of(settings))
    (catalog,) = (each for each in _layers(member) if isinstance(each, CatalogLayer))
    noticed = CatalogNoticeLayer(_store(member), changed=catalog.changed)
    return stack(noticed, [bounded, *_own(settings, bus, statistics)])


def _own(settings: MemberSettings, bus: EventBus, statistics: Statistics) -> list[Build]:
    """Return our own layers over every store."""
    narrowed: list[Build] = [ReadOnlyLayer] if settings.read_only else []
    monitored = partial(
        MonitorLayer, bus=bus, statistics=statistics, slow_seconds=settings.slow_seconds
    )
    return [*narrowed, RetryLayer, monitored]


def _store(backend: Backend) -> Backend:
    """Return what lies under all views of a store: its adapter, and what is part of the store."""
    store = backend
    for layer in _layers(backend):
        if not layer.part_of_store:
            store = layer.inner
    return store


def _layers(backend: Backend) -> Iterator[Layer]:
    """Yield the layers of a stack, the outermost first."""
    while isinstance(backend, Layer):
        yield backend
        backend = backend.inner


def timeout_of(settings: MemberSettings) -> float:
    """Return how many seconds a request to a member may take in all."""
    said = settings.backend_url().options.get("timeout")
    return _TIMEOUT if said is None else float(said)


def build_guard(backend: Backend, seconds: Callable[[], float] = lambda: _TIMEOUT) -> Backend:
    """Return the backend that repositories use: checked before any I/O, and deletes planned.

    ``seconds`` says how long a call may take that becomes several.
    """
    return stack(backend, [GuardLayer, partial(ReferencesLayer, seconds=seconds)])
