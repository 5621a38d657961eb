"""Start the server; it runs until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import signal
import sys

import asyncpg

from .engine import Engine
from .gateway import Gateway
from .server import serve


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        loopback, number = ipaddress.ip_address(host).is_loopback, int(port)
    except ValueError as error:
        raise argparse.ArgumentTypeError("must be ADDRESS:PORT") from error
    if not loopback:
        raise argparse.ArgumentTypeError("must be on loopback: nobody is asked for a password")
    return host, number


async def _run(host: str, port: int, url: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    engine = Engine(url)
    try:
        await engine.open()
        await serve(Gateway(engine, f"{host}:{port}"), host, port, stop)
    finally:
        await engine.close()


def main() -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="mongodb_gateway", description=__doc__)
    parser.add_argument("--listen", type=_address, required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--engine", required=True, metavar="URL", help="postgresql://…")
    arguments = parser.parse_args()
    host, port = arguments.listen
    try:
        asyncio.run(_run(host, port, arguments.engine))
    except (OSError, asyncpg.PostgresError) as error:
        sys.stderr.write(f"mongodb_gateway: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
