"""The way to a server: its names, and a connection to each of its addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from threading import Thread

from healthstore.abc.url import Host
from healthstore.cli.doctor.line import Grade, Line

__all__ = ("Found", "look_up", "reach")

# The addresses of each host; none for a name that has none.
Found = dict[Host, tuple[str, ...]]


async def look_up(hosts: Sequence[Host]) -> tuple[Found, list[Line]]:
    """Return each host's addresses, and what to say about them."""
    every = await asyncio.gather(*(_addresses(host.name) for host in hosts))
    found = dict(zip(hosts, every, strict=True))
    bad = _grade(any(every))
    lines = [
        Line("DNS", Grade.OK, _among(host.name, addresses))
        if addresses
        else Line(
            "DNS",
            bad,
            f"{host.name} has no address",
            "check the name in the URL, and this machine's resolver",
            unreachable=True,
        )
        for host, addresses in found.items()
    ]
    return found, lines


async def reach(found: Found, port: int) -> list[Line]:
    """Connect to each address of each host, and say which ones answer; ``port`` is the default."""
    hosts = [host for host, addresses in found.items() if addresses]
    every = await asyncio.gather(*(_answers(found[host], host.port or port) for host in hosts))
    answers = dict(zip(hosts, every, strict=True))
    bad = _grade(any("" in each for each in answers.values()))
    lines: list[Line] = []
    for host, troubles in answers.items():
        parts = zip(found[host], troubles, strict=True)
        seen = ", ".join(f"{each} {trouble or 'answers'}" for each, trouble in parts)
        place = f"port {host.port or port}: {seen}"
        if "" in troubles:
            lines.append(Line("TCP", Grade.OK, place))
        else:
            remedy = "start the server, or correct host and port; look for a firewall between"
            lines.append(Line("TCP", bad, place, remedy, unreachable=True))
    return lines


def _grade(another: object) -> Grade:
    """Return how bad it is that one host does not work, by whether another one does."""
    return Grade.WARN if another else Grade.FAIL


def _among(name: str, addresses: Sequence[str]) -> str:
    return name if addresses == (name,) else f"{name} is {', '.join(addresses)}"


async def _addresses(name: str) -> tuple[str, ...]:
    """Return a host's addresses.

    In a thread of its own: that of a resolver which hangs cannot be stopped, and must not keep
    the process from ending.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, ...]] = loop.create_future()

    def settle(addresses: tuple[str, ...]) -> None:
        if not answer.done():
            answer.set_result(addresses)

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):  # UnicodeError: a label is too long, or empty
            rows = []
        addresses = tuple(dict.fromkeys(str(row[4][0]) for row in rows))
        with suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, addresses)

    Thread(target=ask, name="healthstore-doctor-dns", daemon=True).start()
    return await answer


async def _answers(addresses: Sequence[str], port: int) -> list[str]:
    return await asyncio.gather(*(_answer(each, port) for each in addresses))


async def _answer(address: str, port: int) -> str:
    """Connect and hang up; return what is wrong, or an empty text."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        return f"does not answer within {_CONNECT_SECONDS:g} s"
    except ConnectionRefusedError:
        return "refuses"
    except OSError as error:
        return f"cannot be reached ({error.strerror or type(error).__name__})"
    writer.close()
    with suppress(OSError, TimeoutError):  # it answered: how it takes the farewell is no matter
        async with asyncio.timeout(_CONNECT_SECONDS):
            await writer.wait_closed()
    return ""


_CONNECT_SECONDS = 2.5  # less than a step may take, so that the other addresses are told as well
