"""The commands of ``schema`` and their options; each one's work is in a module of its own."""

# ruff: noqa: PLC0415 - a command imports what it needs when it runs, so that --help is quick

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from healthstore.cli.command import URL_HELP, Job, register
from healthstore.cli.store import Store

__all__ = (
    "check_files",
    "compare_definitions",
    "definitions",
    "downgrade",
    "lint_files",
    "reset",
    "revise",
    "seed",
    "show_current",
    "show_definitions",
    "show_history",
    "show_script",
    "squash",
    "stamp",
    "upgrade",
)

definitions = typer.Typer(
    help="Show the collections of a store, compare them with entities, and change them by "
    "migration files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Member = Annotated[str | None, typer.Argument(metavar="[URL]", help=URL_HELP)]
Named = Annotated[
    list[str],
    typer.Option(
        metavar="MODULE[:CLASS]",
        help="An entity, or all of a module, found from the current folder; may be repeated.",
    ),
]
Folder = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="The folder of the migration files.")
]
Target = Annotated[str, typer.Argument(metavar="[TARGET]", help="A number, an id, head or zero.")]
AllowLoss = Annotated[
    bool, typer.Option("--allow-loss", help="Drop what holds something, replace what does not fit.")
]
Pause = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0, help="Wait so long between two pages of a function's documents."
    ),
]
_MIGRATIONS = Path("migrations")


@register(definitions, "show")
def show_definitions(member: Member = None, *, store: Store) -> Job:
    """Show a store's collections: fields, keys, references, and how many documents each has."""
    from healthstore.cli.schema.show import show_schema

    store = store.and_urls(member)
    return lambda output: show_schema(output, store)


@register(definitions, "diff")
def compare_definitions(
    member: Member = None,
    *,
    entity: Named,
    sql: Annotated[
        bool, typer.Option("--sql", help="Show what the store would run, with its constants.")
    ] = False,
    store: Store,
) -> Job:
    """Show what would make a store's collections into those of the entities; changes nothing.

    Each change is additive, needs data (rows are to be looked at first) or loses data. Exits
    with 9 if there is one.
    """
    from healthstore.cli.schema.diff import compare_schema

    store = store.and_urls(member)
    return lambda output: compare_schema(output, store, entity, sql=sql)


@register(definitions, "revise")
def revise(
    *,
    message: Annotated[str, typer.Option("--message", "-m", help="What the migration does.")],
    entity: Named,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLLECTION.FIELD", help="This field is dropped, not renamed; may be repeated."
        ),
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OLD=NEW",
            help="collection.field=collection.other, or collection=other; may be repeated.",
        ),
    ] = None,
    directory: Folder = _MIGRATIONS,
) -> Job:
    """Write the next migration file: from the files that are there to the entities.

    No store is asked. Where a field goes and one of its type comes, nothing is guessed: it is asked
    for, or say --rename or --drop. Without a terminal it exits with 10 then.
    """
    from healthstore.cli.schema.revise import Answers, asked, revise_files

    answers = Answers(drop or (), rename or (), asked if sys.stdin.isatty() else None)
    return lambda output: revise_files(output, directory, message, entity, answers)


@register(definitions, "check")
def check_files(*, entity: Named, directory: Folder = _MIGRATIONS) -> Job:
    """Check that the migration files lead to the entities; no store is asked.

    Exits with 9 if a migration is missing, and with 4 if a file is wrong.
    """
    from healthstore.cli.schema.revise import check_migrations

    return lambda output: check_migrations(output, directory, entity)


@register(definitions, "squash")
def squash(
    *,
    message: Annotated[str, typer.Option("--message", "-m", help="What the migration makes.")],
    first: Annotated[
        str | None, typer.Option("--from", metavar="ID", help="The first one; that of the folder.")
    ] = None,
    last: Annotated[
        str, typer.Option("--to", metavar="ID", help="The last one; that of the folder.")
    ] = "head",
    directory: Folder = _MIGRATIONS,
) -> Job:
    """Write one migration file in the place of several, and remove those; no store is asked.

    A store that has them all has the new one, one that has none of them gets it, and one that has
    a part is refused by upgrade. Without --from their functions are left out: there is no document.
    """
    from healthstore.cli.schema.squash import squash_files

    return lambda output: squash_files(output, directory, message, first, last)


@register(definitions, "lint")
def lint_files(
    *,
    directory: Folder = _MIGRATIONS,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TARGET", help="Look at what comes after this migration."),
    ] = None,
) -> Job:
    """Tell what is unsafe in the migration files while programs serve; no store is asked.

    Exits with 1 if there is something, and with 4 if a file is wrong.
    """
    from healthstore.cli.schema.lint import lint_migrations

    return lambda output: lint_migrations(output, directory, since)


@register(definitions, "sql")
def show_script(
    target: Target = "head",
    *,
    directory: Folder = _MIGRATIONS,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TARGET", help="Begin after this one; no store is asked."),
    ] = None,
    dialect: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="postgresql, mysql, mariadb or sqlite, without a store."),
    ] = None,
    store: Store,
) -> Job:
    """Print as a script what takes the active member to a target; runs nothing.

    It begins where the member is, or after --from. A function is in no script: it says then how
    to go on.
    """
    from healthstore.cli.schema.script import tell_script

    return lambda output: tell_script(output, store, directory, (since, target), dialect)


@register(definitions, "upgrade")
def upgrade(
    target: Target = "head",
    *,
    directory: Folder = _MIGRATIONS,
    allow_loss: AllowLoss = False,
    pause: Pause = 0.0,
    store: Store,
) -> Job:
    """Apply migration files to the active member, up to a target; goes on with what was cut short."""
    from healthstore.cli.schema.upgrade import upgrade_store

    return lambda output: upgrade_store(
        output, store, target, directory, allow_loss=allow_loss, pause=pause
    )


@register(definitions, "downgrade")
def downgrade(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="A number, an id or zero; one back without it."),
    ] = None,
    *,
    directory: Folder = _MIGRATIONS,
    allow_loss: AllowLoss = False,
    pause: Pause = 0.0,
    store: Store,
) -> Job:
    """Take migrations back, the last one or down to a target."""
    from healthstore.cli.schema.upgrade import downgrade_store

    return lambda output: downgrade_store(
        output, store, target, directory, allow_loss=allow_loss, pause=pause
    )


@register(definitions, "current")
def show_current(*, store: Store) -> Job:
    """Show the last migration that the active member has."""
    from healthstore.cli.schema.upgrade import tell_current

    return lambda output: tell_current(output, store)


@register(definitions, "history")
def show_history(*, directory: Folder = _MIGRATIONS, store: Store) -> Job:
    """Show the migration files, and when each was applied to the active member."""
    from healthstore.cli.schema.upgrade import tell_history

    return lambda output: tell_history(output, store, directory)


@register(definitions, "stamp")
def stamp(target: Target = "head", *, directory: Folder = _MIGRATIONS, store: Store) -> Job:
    """Note that the active member has the migrations up to a target; nothing is applied.

    For a store that was made in another way: its collections must be as they are after that.
    """
    from healthstore.cli.schema.upgrade import stamp_store

    return lambda output: stamp_store(output, store, target, directory)


@register(definitions, "reset")
def reset(
    *,
    yes: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The member's name: nothing is removed without it."),
    ] = None,
    directory: Folder = _MIGRATIONS,
    store: Store,
) -> Job:
    """Drop every collection of the active member, and apply the migration files from the start.

    What it holds is counted first. For databases of development and tests: in the profile
    production it is refused, with 7. What was cut short is completed by the same command.
    """
    from healthstore.cli.schema.reset import reset_store

    return lambda output: reset_store(output, store, directory, yes)


@register(definitions, "seed")
def seed(
    *,
    yes: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The member's name: in production it is needed."),
    ] = None,
    store: Store,
) -> Job:
    """Call the function that the setting seed names, module:function, with an opened manager.

    An async function gets healthstore's DatabaseManager, a plain one that of healthstore.sync.
    """
    from healthstore.cli.schema.seed import seed_store

    return lambda output: seed_store(output, store, yes)
