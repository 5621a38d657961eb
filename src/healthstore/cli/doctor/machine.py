"""This machine: Python, this library, and every driver."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from healthstore import __version__
from healthstore.abc.registry import BUILT_IN
from healthstore.cli.doctor.line import Grade, Line

__all__ = ("installed",)


def installed() -> list[Line]:
    """Return what is installed here; imports no driver."""
    return [
        Line(
            "Python",
            Grade.OK,
            f"{platform.python_version()} ({platform.python_implementation()})",
        ),
        Line("healthstore", Grade.OK, __version__),
        Line("platform", Grade.OK, platform.platform()),
        *_drivers(),
        *_libraries(),
    ]


def _drivers() -> Iterator[Line]:
    kinds = {built_in.kind: built_in for built_in in BUILT_IN.values()}
    names = {name: None for built_in in kinds.values() for name in built_in.distributions}
    for name in names:
        if find_spec(name) is None:
            users = ", ".join(kind for kind, each in kinds.items() if name in each.distributions)
            yield Line(
                f"driver {name}",
                Grade.WARN,
                f"not installed: {users} cannot be used",
                f"python -m pip install {name}",
            )
            continue
        try:
            yield Line(f"driver {name}", Grade.OK, version(name))
        except PackageNotFoundError:
            continue  # a module that came with another distribution


def _libraries() -> Iterator[Line]:
    for built_in in {each.library: each for each in BUILT_IN.values() if each.library}.values():
        module, _, attribute = built_in.library.partition(":")
        if find_spec(module) is None:
            yield Line(
                f"library of {built_in.kind}",
                Grade.WARN,
                f"this Python was built without {module}",
                "use a Python that has it, such as the operating system's",
            )
            continue
        found: object = getattr(import_module(module), attribute)
        yield Line(f"library of {built_in.kind}", Grade.OK, str(found))
