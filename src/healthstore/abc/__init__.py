"""Floor 1: what third parties read to write a backend or a layer."""

from healthstore.abc.adapter import Adapter
from healthstore.abc.backend import Backend, Capabilities, Executor, Isolation, Unit, UnitOptions
from healthstore.abc.layer import Layer, stack
from healthstore.abc.prober import Figures, PoolFigures, Prober, Vitals
from healthstore.abc.unit import Phase
from healthstore.abc.url import BackendURL, Host

__all__ = (
    "Adapter",
    "Backend",
    "BackendURL",
    "Capabilities",
    "Executor",
    "Figures",
    "Host",
    "Isolation",
    "Layer",
    "Phase",
    "PoolFigures",
    "Prober",
    "Unit",
    "UnitOptions",
    "Vitals",
    "stack",
)
