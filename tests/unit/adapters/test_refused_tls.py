"""A server that offers no TLS is a matter of configuration, not an outage."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from healthstore.abc import BackendURL
from healthstore.abc.registry import connect
from healthstore.errors import Condition, ConfigurationError, Outcome, UnavailableError

_ASKS_FOR_TLS = 8  # bytes


async def serve(answer: bytes) -> tuple[asyncio.Server, int]:
    """Answer PostgreSQL's request for TLS so, and hang up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(_ASKS_FOR_TLS)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return server, port


@pytest.fixture
async def port(request: pytest.FixtureRequest) -> AsyncIterator[int]:
    """Return the port of a server that gives this answer."""
    server, port = await serve(request.param)
    yield port
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("port", [b"N"], indirect=True)
@pytest.mark.parametrize("tls", ["verify", "encrypt"])
async def test_a_server_without_tls_is_misconfigured(port: int, tls: str) -> None:
    """Whoever wants an encrypted connection is told that there is none, and what to choose."""
    url = BackendURL.parse(f"postgresql://ann@127.0.0.1:{port}/app?tls={tls}")
    with pytest.raises(ConfigurationError, match="encrypted") as error:
        await connect(url).open()
    assert error.value.condition is Condition.MISCONFIGURED
    assert error.value.outcome is Outcome.NOT_APPLIED
    assert "tls=" in error.value.hint


@pytest.mark.parametrize("port", [b""], indirect=True)
async def test_a_server_that_hangs_up_is_a_suspicion(port: int) -> None:
    """A proxy before a server that is down does so, too."""
    url = BackendURL.parse(f"postgresql://ann@127.0.0.1:{port}/app?tls=encrypt")
    with pytest.raises(UnavailableError) as error:
        await connect(url).open()
    assert error.value.condition is Condition.SUSPECT
