"""The command that fills a store by a function of the program: the setting ``seed``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import replace
from inspect import iscoroutine, iscoroutinefunction
from pathlib import Path
from time import perf_counter
from traceback import FrameSummary, extract_tb, format_list
from typing import cast

from healthstore import sync
from healthstore.cli.exits import EXITS, Exit
from healthstore.cli.failures import CommandError, Failure
from healthstore.cli.named import find_function
from healthstore.cli.output import Output
from healthstore.cli.store import Store
from healthstore.config import Profile, Settings
from healthstore.errors import ConfigurationError, HealthstoreError
from healthstore.manager import DatabaseManager
from healthstore.routing.policy import Mock

__all__ = ("seed_store",)

_OURS = Path(sync.__file__).parent


async def seed_store(output: Output, store: Store, said: str | None) -> int:
    """Call the function that the setting names; in production only if the member's name is said."""
    settings = store.whole_settings()
    member, seed = settings.members[0].name, settings.seed
    if seed is None:
        raise ConfigurationError(
            "no seed is set",
            hint='write seed = "module:function" in healthstore.toml, or set HEALTHSTORE_SEED',
        )
    wanted = {member} if settings.profile is Profile.PRODUCTION else {member, None}
    if said not in wanted:
        hint = f"nothing was called; if it is meant, say --yes {member}"
        message = f"that {member} is to be filled by {seed} is not confirmed"
        raise CommandError(Failure(message, member, hint, "refused", Exit.REFUSED))
    # What is written to a mock is gone when this process is.
    settings = settings.model_copy(update={"policy": replace(settings.policy, mock=Mock.OFF)})
    started = perf_counter()
    with _printed(output):
        await _call(output, settings, seed)
    output.show(f"{member} was filled by {seed}.")
    output.result(
        {
            "ok": True,
            "exit": int(Exit.OK),
            "command": "schema seed",
            "member": member,
            "seed": seed,
            "seconds": perf_counter() - started,
        }
    )
    return Exit.OK


async def _call(output: Output, settings: Settings, seed: str) -> None:
    """Call a function with a manager of its own kind: what a plain one calls must not wait."""
    try:
        function = find_function(seed, "seed")
    except CommandError as error:
        wrong = replace(error.failure, code=ConfigurationError.code, exit=Exit.CONFIGURATION)
        raise CommandError(wrong) from None
    if iscoroutinefunction(function):
        awaited = cast("Callable[[object], Awaitable[object]]", function)
        async with DatabaseManager.from_settings(settings) as db:
            try:
                await awaited(db)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it may fail in any way
                raise _failed(output, seed, error) from None
        return
    with sync.DatabaseManager.from_settings(settings) as manager:
        try:
            made = function(manager)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            raise _failed(output, seed, error) from None
    if iscoroutine(made):
        made.close()
        raise CommandError(
            Failure(
                f"{seed} returned a coroutine, which was not run",
                f"seed {seed}",
                "define it, and what is around it, by async def",
                ConfigurationError.code,
                Exit.CONFIGURATION,
            )
        )


def _printed(output: Output) -> AbstractContextManager[object]:
    """Keep what the function prints away from the one object of ``--json``."""
    return redirect_stdout(output.stderr) if output.manners.json else nullcontext()


def _failed(output: Output, seed: str, error: BaseException) -> CommandError:
    """Return the error of a function that raised, after its lines were shown.

    The message of a foreign exception may hold anything; its type and lines do not.
    """
    frames = [each for each in extract_tb(error.__traceback__) if not _is_ours(each)]
    for text in format_list(frames):
        output.note(text.rstrip("\n"))
    message = f"{seed} raised {type(error).__name__}"
    own = [each for each in frames if each.filename == frames[0].filename]
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else f"seed {seed}"
    hint = "what it wrote before is there: mend it, and let it be one that may run twice"
    if isinstance(error, HealthstoreError):
        message, hint = f"{message}: {error.message}", error.hint or hint
        return CommandError(
            Failure(message, where, hint, error.code, EXITS.get(error.code, Exit.FAILURE))
        )
    return CommandError(Failure(message, where, hint, "seed", Exit.FAILURE))


def _is_ours(frame: FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(_OURS)
