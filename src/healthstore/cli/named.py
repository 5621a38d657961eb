"""What a command is given by name: entities as ``module:Class``, and stores as URLs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from types import ModuleType
from typing import cast

from healthstore.abc.url import BackendURL
from healthstore.cli.failures import CommandError, Failure
from healthstore.entity import Entity

__all__ = (
    "find_all",
    "find_entities",
    "find_entity",
    "find_function",
    "require_stored",
    "stored",
    "there",
)

_ENTITY = "--entity"


def find_entity(name: str) -> type[Entity]:
    """Return the entity class that ``module:Class`` names; the current folder is searched first.

    Raises CommandError if there is no such module or class, or the module cannot be imported.
    """
    module_name, mark, class_name = name.partition(":")
    if not (mark and module_name and class_name):
        raise _wrong(
            f"{name!r} names no class", name, "write MODULE:CLASS, for example models:Food"
        )
    module = _import(module_name)
    found = getattr(module, class_name, None)
    if isinstance(found, type) and issubclass(found, Entity) and found is not Entity:
        return found
    known = sorted(_entities(module))
    close = get_close_matches(class_name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"its entities: {', '.join(known) or 'none'}"
    raise _wrong(f"{module_name!r} has no entity {class_name!r}", name, hint)


def find_entities(names: Iterable[str]) -> tuple[type[Entity], ...] | None:
    """Return the entities of these names, or None if there is no name."""
    return tuple(map(find_entity, names)) or None


def find_all(names: Iterable[str]) -> tuple[type[Entity], ...]:
    """Return the entities of these names, of which ``module`` stands for all that it has.

    Raises CommandError as :func:`find_entity`, and for a module without an entity that has a
    collection.
    """
    found: dict[type[Entity], None] = {}
    for name in names:
        if ":" in name:
            found[find_entity(name)] = None
            continue
        kept = [
            each
            for each in _entities(_import(name)).values()
            if each.__collection_name__ is not None
        ]
        if not kept:
            raise _wrong(f"{name!r} has no entity", name, "name the module that defines them")
        found.update(dict.fromkeys(kept))
    return tuple(found)


def find_function(name: str, said: str) -> Callable[[object], object]:
    """Return the function that ``module:function`` names; ``said`` is where that was written.

    Raises CommandError as :func:`find_entity`.
    """
    module_name, _, function = name.partition(":")
    module = _import(module_name, said)
    found = getattr(module, function, None)
    if callable(found):
        return cast("Callable[[object], object]", found)
    close = get_close_matches(function, vars(module), n=1)
    hint = f"did you mean {close[0]}?" if close else "define it there: async def …(db)"
    raise _wrong(f"{module_name!r} has no function {function!r}", name, hint, said)


def _entities(module: ModuleType) -> dict[str, type[Entity]]:
    """Return the entity classes that a module has, by their names there."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Entity) and value is not Entity
    }


def _import(name: str, said: str = _ENTITY) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:  # a console script searches its own folder only
        sys.path.insert(0, folder)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing == name or name.startswith(f"{missing}."):
            hint = f"run the command in the folder that holds {name.partition('.')[0]}.py"
            raise _wrong(f"there is no module {missing!r}", name, hint, said) from None
        hint = f"python -m pip install {missing.partition('.')[0]}"
        what = f"{name!r} imports {missing!r}, which is not there"
        raise _wrong(what, name, hint, said) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module of the user's may fail in any way
        # The message of a foreign exception may hold anything; its type and line do not.
        last = extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        what = f"{name!r} raises {type(error).__name__}"
        raise _wrong(what, where, f"python -m {name}", said) from None


def _wrong(message: str, where: str, hint: str, said: str = _ENTITY) -> CommandError:
    return CommandError(Failure(message, f"{said} {where}", hint))


def _file_is_there(url: BackendURL) -> None:
    path = Path(url.database)
    if url.database and not path.exists():  # of a folder the store says what is wrong
        hint = "sqlite:///name.db is relative to the current folder, sqlite:////name.db is not"
        raise CommandError(Failure("there is no such SQLite file", str(path), hint))


# Where a store that is not there would be made by opening it, and then found empty.
_CHECKS: Mapping[str, Callable[[BackendURL], None]] = {"sqlite": _file_is_there}


def stored(url: str) -> str:
    """Return the URL of a store that is to be read; raise CommandError if it is not there."""
    require_stored(BackendURL.parse(url))
    return url


def require_stored(url: BackendURL) -> None:
    """Raise CommandError if a store that is to be read is not there."""
    check = _CHECKS.get(url.scheme)
    if check is not None:
        check(url)


def there(file: Path) -> Path:
    """Return the path of a file that is to be read; raise CommandError if it is not there."""
    if not file.is_file():
        raise CommandError(Failure("there is no such file", str(file), "check the path"))
    return file
