"""The commands and their options; each one's work is in a module of its own."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import os
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from healthstore.cli.exits import Exit
from healthstore.cli.failures import Failure, failure_of
from healthstore.cli.output import Manners, Output
from healthstore.cli.store import Store

__all__ = (
    "backup",
    "check",
    "demo",
    "doctor",
    "health",
    "init",
    "initialize",
    "load",
    "migrate",
    "perform",
    "restore",
    "run",
    "schema",
    "schema_of_file",
    "show",
    "stats",
    "switch",
    "verify",
)

Json = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, and nothing else there.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours; so does NO_COLOR.")]
Entities = Annotated[
    list[str] | None,
    typer.Option(
        "--entity",
        metavar="MODULE:CLASS",
        help="Only this entity's collection, found from the current folder; may be repeated. "
        "Without it: every collection that the store knows.",
    ),
]
_URL_HELP = "sqlite:///app.db, postgresql://user:password@host/database, …"
# Where the store is; without any of them the environment says it.
Urls = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="URL", help=f"A member, in order; may be repeated: {_URL_HELP}"),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="A TOML file with the members.")
]
ProfileName = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="development, test or production.")
]
_NEW_FILE = Path("healthstore.toml")
# Options of every command, which may also stand before its name.
_MANNERS = frozenset({"--json", "--quiet", "-q", "--no-color"})
# Typer passes on what click raises, from a click of its own or the real one.
_Usage: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="healthstore",
    add_completion=False,
    pretty_exceptions_enable=False,  # a traceback may show values
    rich_markup_mode=None,  # rich takes longer to import than all the rest of --help
)


def perform(manners: Manners, job: Callable[[Output], Awaitable[int]]) -> int:
    """Run a command's work to its end, tell what went wrong, and return the exit code."""
    import asyncio

    output = Output(manners)
    output.log()

    async def work() -> int:
        return await job(output)

    try:
        return asyncio.run(work())
    except BrokenPipeError:  # whoever read the output has gone, as in `… | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILURE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the end of every error
        failure = failure_of(error)
        output.fail(failure)
        return failure.exit


def run(arguments: Sequence[str]) -> int:
    """Run the command that these arguments name, and return its exit code."""
    leading = list(takewhile(_MANNERS.__contains__, arguments))
    command, *rest = [*arguments[len(leading) :]] or [""]
    ordered = [command, *rest, *leading] if command else leading
    try:
        code = app(args=ordered, prog_name="healthstore", standalone_mode=False)
    except _Usage as error:
        message = getattr(error, "format_message", error.__str__)()
        hint = f"healthstore {command} --help" if _is_command(command) else "healthstore --help"
        failure = Failure(_without_urls(message, arguments), hint=hint)
        Output(Manners(json="--json" in arguments)).fail(failure)
        return failure.exit
    except Exception as error:  # noqa: BLE001 - of an import, before the command's own work
        failure = failure_of(error)
        Output(Manners(json="--json" in arguments)).fail(failure)
        return failure.exit
    return Exit.OK if code is None else int(code)


def _is_command(name: str) -> bool:
    groups = {each.name for each in app.registered_groups}
    named = {_name_of(each.callback) for each in app.registered_commands}
    return name in groups | named


def _name_of(callback: Callable[..., object] | None) -> str:
    return getattr(callback, "__name__", "")


def _without_urls(message: str, arguments: Sequence[str]) -> str:
    """Cut what may be a secret out of a message that quotes the command line."""
    for argument in arguments:
        scheme, mark, _ = argument.partition("://")
        if mark:
            message = message.replace(argument, f"{scheme}://…")
    return re.sub(r"://[^\s'…]+", "://…", message)


configuration = typer.Typer(
    help="Show, check and begin a configuration.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(configuration, name="config")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Keep, move, prove and back up data in PostgreSQL, MySQL, MariaDB, SQLite or MongoDB."""
    if version:
        from healthstore import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(Exit.USAGE)


@app.command()
def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the files in this new folder.")
    ] = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Prove the main promises on this machine; exits with 0 only if every one held.

    No server is needed. Servers named in HEALTHSTORE_TEST_*_URL, or in HEALTHSTORE_DEMO_URLS
    (separated by spaces), join in with a database of their own that is dropped at the end.
    """
    from healthstore.cli.demo import demonstrate

    return perform(Manners(json, quiet, no_color), lambda output: demonstrate(output, keep))


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="JSON Lines or CSV with a header; plain or gzip.")],
    entity: Annotated[
        str,
        typer.Option(metavar="MODULE:CLASS", help="What a row is; found from the current folder."),
    ],
    url: Urls = None,
    config: Config = None,
    profile: ProfileName = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Load a file into the active member, one entity a row.

    Makes the collection if it is missing. A row that the entity or the store refuses is named
    with its line, stops the load, and nothing of the file stays.
    """
    from healthstore.cli.load import load_file

    store = Store(url or (), config, profile)
    return perform(
        Manners(json, quiet, no_color), lambda output: load_file(output, file, entity, store)
    )


@app.command()
def migrate(
    source: Annotated[str, typer.Argument(metavar="SRC", help=_URL_HELP)],
    target: Annotated[str, typer.Argument(metavar="DST", help="Another store; may be empty.")],
    entity: Entities = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Copy collections from one store to another, and verify the copy by reading it back."""
    from healthstore.cli.move import migrate_stores

    return perform(
        Manners(json, quiet, no_color),
        lambda output: migrate_stores(output, source, target, entity or ()),
    )


@app.command()
def verify(
    left: Annotated[str, typer.Argument(metavar="A", help=_URL_HELP)],
    right: Annotated[str, typer.Argument(metavar="B", help="The store to compare with.")],
    entity: Entities = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Compare two stores by counts and digests; exits with 6 if they differ."""
    from healthstore.cli.move import verify_stores

    return perform(
        Manners(json, quiet, no_color),
        lambda output: verify_stores(output, left, right, entity or ()),
    )


@app.command()
def backup(
    url: Annotated[str, typer.Argument(metavar="URL", help=_URL_HELP)],
    file: Annotated[Path, typer.Argument(help="Appears under this name only when complete.")],
    entity: Entities = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Write a store to one JSON file with counts, digests and a SHA-256."""
    from healthstore.cli.move import backup_store

    return perform(
        Manners(json, quiet, no_color),
        lambda output: backup_store(output, url, file, entity or ()),
    )


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that backup wrote.")],
    url: Annotated[str, typer.Argument(metavar="URL", help=_URL_HELP)],
    entity: Entities = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Check a backup from end to end, then load it into a store and verify it there."""
    from healthstore.cli.move import restore_store

    return perform(
        Manners(json, quiet, no_color),
        lambda output: restore_store(output, file, url, entity or ()),
    )


@app.command()
def schema(
    member: Annotated[str | None, typer.Argument(metavar="[URL]", help=_URL_HELP)] = None,
    url: Urls = None,
    config: Config = None,
    profile: ProfileName = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Show a store's collections: fields, keys, references, and how many documents each has."""
    from healthstore.cli.look import show_schema

    store = Store((*((member,) if member else ()), *(url or ())), config, profile)
    return perform(Manners(json, quiet, no_color), lambda output: show_schema(output, store))


@app.command()
def doctor(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help=f"Members: {_URL_HELP}")
    ] = None,
    url: Urls = None,
    config: Config = None,
    profile: ProfileName = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Look at this machine and at each member: how it is reached, and how it is set up.

    Each line is OK, WARN, FAIL or SKIP, with what to do. Exits with 0 if nothing failed, with 5
    if a member cannot be reached, and with 1 if something else failed. Nothing is written.
    """
    from healthstore.cli.doctor import examine_members

    store = Store((*(urls or ()), *(url or ())), config, profile)
    return perform(Manners(json, quiet, no_color), lambda output: examine_members(output, store))


@app.command()
def health(
    url: Urls = None,
    config: Config = None,
    profile: ProfileName = None,
    *,
    wait: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Check until requests are served.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", help="How often --watch draws on a terminal.")
    ] = 2.0,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Check every member, and show who serves.

    Exits with 0 if reads and writes are served, with 1 if only reads are, and with 5 if nothing
    is. The check includes one small write.
    """
    from healthstore.cli.health import show_health, wait_until_ready, watch_health

    store = Store(url or (), config, profile)

    def job(output: Output) -> Awaitable[int]:
        if watch:
            return watch_health(output, store, every)
        if wait is not None:
            return wait_until_ready(output, store, wait)
        return show_health(output, store)

    return perform(Manners(json, quiet, no_color), job)


@app.command()
def stats(
    url: Urls = None,
    config: Config = None,
    profile: ProfileName = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Count the documents of every collection on every member, with size and connections."""
    from healthstore.cli.stats import show_statistics

    store = Store(url or (), config, profile)
    return perform(Manners(json, quiet, no_color), lambda output: show_statistics(output, store))


@app.command()
def initialize(
    entities: Annotated[
        list[str],
        typer.Argument(metavar="MODULE:CLASS...", help="Entities, found from the current folder."),
    ],
    url: Urls = None,
    config: Config = None,
    profile: ProfileName = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Create the collections of entities on the active member, and check those that are there."""
    from healthstore.cli.change import initialize_store

    store = Store(url or (), config, profile)
    return perform(
        Manners(json, quiet, no_color), lambda output: initialize_store(output, store, entities)
    )


@app.command()
def switch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The member that is to become the active one.")
    ],
    url: Urls = None,
    config: Config = None,
    profile: ProfileName = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say whether it could take over, and why not.")
    ] = False,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Say whether another member could become the active one, with --dry-run.

    No command can switch services that run: they call db.switch(NAME) themselves. Exits with 7
    if the member is not fit, or without --dry-run.
    """
    from healthstore.cli.change import switch_store

    store = Store(url or (), config, profile)
    return perform(
        Manners(json, quiet, no_color),
        lambda output: switch_store(output, store, name, dry_run=dry_run),
    )


@configuration.command("show")
def show(
    config: Config = None,
    profile: ProfileName = None,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value comes from.")
    ] = False,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Show every setting in effect, without secrets."""
    from healthstore.cli.config import show_config

    return perform(
        Manners(json, quiet, no_color),
        lambda output: show_config(output, config, profile, origin),
    )


@configuration.command("check")
def check(
    config: Config = None,
    profile: ProfileName = None,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Say whether the configuration can work, without connecting; exits with 4 if not."""
    from healthstore.cli.config import check_config

    return perform(
        Manners(json, quiet, no_color), lambda output: check_config(output, config, profile)
    )


@configuration.command("init")
def init(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Must not be there yet.")
    ] = _NEW_FILE,
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Write a commented file to begin with."""
    from healthstore.cli.config import init_config

    return perform(Manners(json, quiet, no_color), lambda output: init_config(output, path))


@configuration.command("schema")
def schema_of_file(
    *,
    json: Json = False,
    quiet: Quiet = False,
    no_color: NoColor = False,
) -> int:
    """Print the JSON schema of the file, for an editor."""
    from healthstore.cli.config import schema_config

    return perform(Manners(json, quiet, no_color), schema_config)
