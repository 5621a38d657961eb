"""Where the demo runs: embedded stores in a folder, and servers that the environment names."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode
from uuid import uuid4

from healthstore.abc.url import BackendURL
from healthstore.errors import HealthstoreError
from healthstore.testing.provision import PROVISIONS

__all__ = ("Joined", "join", "servers")

_VARIABLES = ("HEALTHSTORE_TEST_", "_URL")
_LIST = "HEALTHSTORE_DEMO_URLS"


@dataclass(frozen=True, slots=True)
class Joined:
    """The URLs of all stores by name, and why a server did not join."""

    urls: Mapping[str, str]
    absent: Mapping[str, str]


def servers(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the URLs of the servers that the environment names."""
    prefix, suffix = _VARIABLES
    found = {
        name.removeprefix(prefix).removesuffix(suffix).lower().replace("_", "-"): url
        for name, url in sorted(environment.items())
        if name.startswith(prefix) and name.endswith(suffix) and url
    }
    listed = environment.get(_LIST, "").split()  # a URL may hold commas, but no space
    return found | {f"url-{number}": url for number, url in enumerate(listed, start=1)}


@asynccontextmanager
async def join(folder: Path, environment: Mapping[str, str]) -> AsyncGenerator[Joined, None]:
    """Lend the stores of the demo.

    A server gets a new database beside the one that its URL names, which is never touched; the
    new one is dropped at the end. A server that cannot give one does not join.
    """
    urls = {"sqlite": f"sqlite:///{folder / 'demo.db'}", "memory": "memory://"}
    absent: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        for name, url in servers(environment).items():
            try:
                urls[name] = await stack.enter_async_context(_database(url))
            except HealthstoreError as error:
                absent[name] = error.message
            except Exception as error:  # noqa: BLE001 - of a driver: it is bare here
                absent[name] = f"no database could be made ({type(error).__name__})"
        yield Joined(urls, absent)


@asynccontextmanager
async def _database(url: str) -> AsyncGenerator[str, None]:
    server = BackendURL.parse(url)
    provision = PROVISIONS.get(server.scheme)
    if provision is None:
        raise HealthstoreError(f"{server.scheme} cannot be given a database of its own")
    made = await provision.create(server, f"healthstore_demo_{uuid4().hex[:12]}")
    try:
        yield _renamed(url, made)
    finally:
        await provision.drop(made)


def _renamed(url: str, made: BackendURL) -> str:
    """Return a URL with another database; `str` of the parsed one would hide the password."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    options = f"?{urlencode(made.options)}" if made.options else ""
    return f"{scheme}://{rest.partition('/')[0]}/{quote(made.database)}{options}"
