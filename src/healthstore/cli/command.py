"""What every command shares: its common options, and how its work is performed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_type_hints

import typer

from healthstore.cli.failures import failure_of
from healthstore.cli.output import Manners, Output
from healthstore.cli.signals import ignore_from_now_on
from healthstore.cli.store import Store

__all__ = ("URL_HELP", "Config", "Job", "ProfileName", "perform", "register")

Job: TypeAlias = Callable[[Output], Awaitable[int]]
"""The work of a command: it writes to an output and returns the exit code."""

URL_HELP = "sqlite:///app.db, postgresql://user:password@host/database, …"
Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, and nothing else there.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours; so does NO_COLOR.")]
# Where the store is; without any of them the environment says it.
Urls = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="URL", help=f"A member, in order; may be repeated: {URL_HELP}"),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with the members.")
]
ProfileName = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="development, test or production.")
]

_MANNERS: dict[str, Any] = {"json": Json, "quiet": Quiet, "no_color": NoColor}
_STORE: dict[str, Any] = {"url": Urls, "config": Config, "profile": ProfileName}


def perform(manners: Manners, job: Callable[[Output], Awaitable[int]]) -> int:
    """Run a command's work to its end, tell what went wrong, and return the exit code."""
    import asyncio  # noqa: PLC0415 - --help has no use for it

    output = Output(manners)
    output.log()

    async def work() -> int:
        return await job(output)

    try:
        return asyncio.run(work())
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the end of every error
        if isinstance(error, KeyboardInterrupt):
            ignore_from_now_on()
        failure = failure_of(error)
        output.fail(failure)
        return failure.exit


def register(
    group: typer.Typer, name: str | None = None
) -> Callable[[Callable[..., Job]], Callable[..., Job]]:
    """Make a command of a function that returns its job.

    Options of every command are added to its own: ``--json``, ``--quiet``, ``--no-color``, and
    for a parameter ``store`` those that say where the store is.
    """

    def registered(make: Callable[..., Job]) -> Callable[..., Job]:
        own = signature(make).parameters
        hints = get_type_hints(make, include_extras=True)
        takes_store = "store" in own

        def command(**given: Any) -> int:
            manners = Manners(**{name: given.pop(name) for name in _MANNERS})
            if takes_store:
                urls, config, profile = (given.pop(name) for name in _STORE)
                given["store"] = Store(urls or (), config, profile)
            return perform(manners, make(**given))

        shown = [each.replace(annotation=hints[each.name]) for each in own.values()]
        options = {**(_STORE if takes_store else {}), **_MANNERS}
        added = [
            Parameter(
                name,
                Parameter.KEYWORD_ONLY,
                default=False if name in _MANNERS else None,
                annotation=annotation,
            )
            for name, annotation in options.items()
        ]
        parameters = [*(each for each in shown if each.name != "store"), *added]
        vars(command)["__signature__"] = Signature(parameters)  # what typer reads
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        command.__name__, command.__doc__ = make.__name__, make.__doc__
        group.command(name)(command)
        return make

    return registered
