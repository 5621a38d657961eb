"""The commands and their options; each one's work is in a module of its own."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from healthstore.cli.command import URL_HELP, Config, Job, ProfileName, register
from healthstore.cli.exits import Exit
from healthstore.cli.failures import Failure, failure_of
from healthstore.cli.output import Manners, Output
from healthstore.cli.schema.commands import definitions
from healthstore.cli.store import Store

__all__ = (
    "backup",
    "bench",
    "check",
    "clear",
    "demo",
    "doctor",
    "health",
    "init",
    "initialize",
    "load",
    "matrix",
    "migrate",
    "restore",
    "run",
    "schema_of_file",
    "show",
    "stats",
    "switch",
    "verify",
)

Entities = Annotated[
    list[str] | None,
    typer.Option(
        "--entity",
        metavar="MODULE:CLASS",
        help="Only this entity's collection, found from the current folder; may be repeated. "
        "Without it: every collection that the store knows.",
    ),
]
Confirm = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The database's name: in production nothing is removed without it."
    ),
]
_NEW_FILE = Path("healthstore.toml")
# Options of every command, which may also stand before its name.
_MANNERS = frozenset({"--json", "--quiet", "-q", "--no-color"})
# Typer passes on what click raises, from a click of its own or the real one.
_Usage: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="healthstore",
    add_completion=True,
    pretty_exceptions_enable=False,  # a traceback may show values
    rich_markup_mode=None,  # rich takes longer to import than all the rest of --help
)


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
app.add_typer(definitions, name="schema")


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


@register(app)
def demo(
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the files in this new folder.")
    ] = None,
) -> Job:
    """Prove the main promises on this machine; exits with 0 only if every one held.

    No server is needed. Servers named in HEALTHSTORE_TEST_*_URL, or in HEALTHSTORE_DEMO_URLS
    (separated by spaces), join in with a database of their own that is dropped at the end.
    """
    from healthstore.cli.demo import demonstrate

    return lambda output: demonstrate(output, keep)


@register(app)
def load(
    file: Annotated[Path, typer.Argument(help="JSON Lines or CSV with a header; plain or gzip.")],
    entity: Annotated[
        str,
        typer.Option(metavar="MODULE:CLASS", help="What a row is; found from the current folder."),
    ],
    *,
    store: Store,
) -> Job:
    """Load a file into the active member, one entity a row.

    Makes the collection if it is missing. A row that the entity or the store refuses is named
    with its line, stops the load, and nothing of the file stays.
    """
    from healthstore.cli.load import load_file

    return lambda output: load_file(output, file, entity, store)


@register(app)
def migrate(
    source: Annotated[str, typer.Argument(metavar="SRC", help=URL_HELP)],
    target: Annotated[str, typer.Argument(metavar="DST", help="Another store, which is empty.")],
    entity: Entities = None,
    *,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove first what DST holds of it.")
    ] = False,
    confirm: Confirm = None,
    profile: ProfileName = None,
) -> Job:
    """Copy collections from one store to another, and verify the copy by reading it back."""
    from healthstore.cli.clear import require_word
    from healthstore.cli.move import migrate_stores

    if replace:
        require_word(target, profile, confirm)
    return lambda output: migrate_stores(output, source, target, entity or (), replace=replace)


@register(app)
def clear(
    url: Annotated[str, typer.Argument(metavar="URL", help=URL_HELP)],
    entity: Entities = None,
    confirm: Confirm = None,
    profile: ProfileName = None,
) -> Job:
    """Remove every document of a store; its collections and their definitions stay."""
    from healthstore.cli.clear import clear_store

    return lambda output: clear_store(output, url, entity or (), profile, confirm)


@register(app)
def verify(
    left: Annotated[str, typer.Argument(metavar="A", help=URL_HELP)],
    right: Annotated[str, typer.Argument(metavar="B", help="The store to compare with.")],
    entity: Entities = None,
) -> Job:
    """Compare two stores by counts and digests; exits with 6 if they differ."""
    from healthstore.cli.move import verify_stores

    return lambda output: verify_stores(output, left, right, entity or ())


@register(app)
def backup(
    url: Annotated[str, typer.Argument(metavar="URL", help=URL_HELP)],
    file: Annotated[Path, typer.Argument(help="Appears under this name only when complete.")],
    entity: Entities = None,
) -> Job:
    """Write a store to one JSON file with counts, digests and a SHA-256."""
    from healthstore.cli.move import backup_store

    return lambda output: backup_store(output, url, file, entity or ())


@register(app)
def restore(
    file: Annotated[Path, typer.Argument(help="A file that backup wrote.")],
    url: Annotated[str, typer.Argument(metavar="URL", help=URL_HELP)],
    entity: Entities = None,
    migrations: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Migration files: a backup of an earlier release is brought to the last one.",
        ),
    ] = None,
    *,
    allow_loss: Annotated[
        bool,
        typer.Option(
            "--allow-loss",
            help="Let migrations drop what holds something, replace what does not fit.",
        ),
    ] = False,
) -> Job:
    """Check a backup from end to end, then load it into a store and verify it there."""
    from healthstore.cli.move import restore_store

    return lambda output: restore_store(
        output, file, url, entity or (), migrations=migrations, allow_loss=allow_loss
    )


@register(app)
def doctor(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help=f"Members: {URL_HELP}")
    ] = None,
    *,
    store: Store,
) -> Job:
    """Look at this machine and at each member: how it is reached, and how it is set up.

    Each line is OK, WARN, FAIL or SKIP, with what to do. Exits with 0 if nothing failed, with 5
    if a member cannot be reached, and with 1 if something else failed. Nothing is written.
    """
    from healthstore.cli.doctor import examine_members

    store = store.and_urls(*(urls or ()))
    return lambda output: examine_members(output, store)


@register(app)
def bench(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help=f"Members: {URL_HELP}")
    ] = None,
    *,
    store: Store,
    member: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="This member, not the first; may be repeated."),
    ] = None,
    tasks: Annotated[
        int, typer.Option(metavar="NUMBER", help="How many tasks at once, besides one alone.")
    ] = 64,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long each operation is measured.")
    ] = 1.0,
    confirm: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The database's name: in production it is needed."),
    ] = None,
) -> Job:
    """Measure how fast a member is, and how much of a call is healthstore's own.

    Gets, pages of 50, updates, inserts and deletes, by one task and by several at once, against
    the same statements by the driver alone. A collection of its own is made and removed again,
    also after Ctrl-C; no other one is touched. Exits with 7 for a member that takes no writes.
    """
    from healthstore.cli.bench import measure_members

    store = store.and_urls(*(urls or ()))
    return lambda output: measure_members(
        output, store, member or (), seconds=seconds, tasks=tasks, confirm=confirm
    )


@register(app)
def health(
    *,
    store: Store,
    wait: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Check until requests are served.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")
    ] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", help="How often --watch draws on a terminal.")
    ] = 2.0,
) -> Job:
    """Check every member, and show who serves.

    Exits with 0 if reads and writes are served, with 1 if only reads are, and with 5 if nothing
    is. The check includes one small write.
    """
    from healthstore.cli.health import (
        require_times,
        show_health,
        wait_until_ready,
        watch_health,
    )

    def job(output: Output) -> Awaitable[int]:
        require_times(wait, every, watch=watch)
        if watch:
            return watch_health(output, store, every)
        if wait is not None:
            return wait_until_ready(output, store, wait)
        return show_health(output, store)

    return job


@register(app)
def stats(
    *,
    store: Store,
) -> Job:
    """Count the documents of every collection on every member, with size and connections."""
    from healthstore.cli.stats import show_statistics

    return lambda output: show_statistics(output, store)


@register(app)
def initialize(
    entities: Annotated[
        list[str],
        typer.Argument(metavar="MODULE:CLASS...", help="Entities, found from the current folder."),
    ],
    *,
    store: Store,
) -> Job:
    """Create the collections of entities on the active member, and check those that are there."""
    from healthstore.cli.change import initialize_store

    return lambda output: initialize_store(output, store, entities)


@register(app)
def switch(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The member that is to become the active one.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say whether it could take over, and why not.")
    ] = False,
    *,
    store: Store,
) -> Job:
    """Say whether another member could become the active one, with --dry-run.

    No command can switch services that run: they call db.switch(NAME) themselves. Exits with 7
    if the member is not fit, or without --dry-run.
    """
    from healthstore.cli.change import switch_store

    return lambda output: switch_store(output, store, name, dry_run=dry_run)


@register(app)
def matrix(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Records: pytest --healthstore-record=FILE."),
    ],
    backend: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this backend; may be repeated."),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="PAGE", help="Write nothing, but compare with this page."),
    ] = None,
) -> Job:
    """Show what runs of the contract have proven: each claim on each backend.

    The page says where a promise is native, emulated or refused, and why. Exits with 1 if a test
    that claims something did not pass on one of the backends, with 6 if --check finds another
    page.
    """
    from healthstore.cli.matrix import show_matrix

    return lambda output: show_matrix(output, files, backend or (), check)


@register(configuration, "show")
def show(
    config: Config = None,
    profile: ProfileName = None,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value comes from.")
    ] = False,
) -> Job:
    """Show every setting in effect, without secrets."""
    from healthstore.cli.config import show_config

    return lambda output: show_config(output, config, profile, origin)


@register(configuration, "check")
def check(
    config: Config = None,
    profile: ProfileName = None,
) -> Job:
    """Say whether the configuration can work, without connecting; exits with 4 if not."""
    from healthstore.cli.config import check_config

    return lambda output: check_config(output, config, profile)


@register(configuration, "init")
def init(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Must not be there yet.")
    ] = _NEW_FILE,
) -> Job:
    """Write a commented file to begin with."""
    from healthstore.cli.config import init_config

    return lambda output: init_config(output, path)


@register(configuration, "schema")
def schema_of_file() -> Job:
    """Print the JSON schema of the file, for an editor."""
    from healthstore.cli.config import schema_config

    return schema_config
