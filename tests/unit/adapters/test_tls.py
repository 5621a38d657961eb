"""TLS: who is trusted, and that plain text is never what comes of asking for TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymongo import AsyncMongoClient

from healthstore.abc import Backend, BackendURL
from healthstore.abc.registry import connect
from healthstore.abc.tls import Tls, tls_context
from healthstore.adapters.mongo.options import read_url
from healthstore.adapters.mongo.pool import Pools
from healthstore.errors import Condition, ConfigurationError, HealthstoreError

# The first packet of MariaDB 10.11, with everything that it can do except TLS.
_CAPABILITIES = 0xF7FE & ~0x0800
_GREETING = (
    b"\x0a10.11.19-MariaDB\x00\x01\x00\x00\x00abcdefgh\x00"
    + _CAPABILITIES.to_bytes(2, "little")
    + b"\x2d\x02\x00\x1f\x80\x15"
    + bytes(10)
    + b"ijklmnopqrst\x00mysql_native_password\x00"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "healthstore test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
async def port(certificate: Path) -> AsyncIterator[int]:
    """Run a server that speaks TLS from the first byte, and return its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def heard(port: int, context: ssl.SSLContext | None, host: str = "127.0.0.1") -> bytes:
    """Return what the server says, seen through a context."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=host
    )
    try:
        return await reader.readexactly(5)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_stranger_is_refused(port: int) -> None:
    """A certificate that no known authority signed ends the connection."""
    with pytest.raises(ssl.SSLCertVerificationError):
        await heard(port, tls_context(Tls.VERIFY))


async def test_one_s_own_authority_is_trusted(port: int, certificate: Path) -> None:
    """``tls_ca`` names it; the name of the host is checked all the same."""
    assert await heard(port, tls_context(Tls.VERIFY, str(certificate))) == b"hello"
    with pytest.raises(ssl.SSLCertVerificationError):
        await heard(port, tls_context(Tls.VERIFY, str(certificate)), "db.example.org")


async def test_encryption_without_a_check_must_be_spelled_out(port: int) -> None:
    """``encrypt`` takes whoever answers."""
    assert await heard(port, tls_context(Tls.ENCRYPT)) == b"hello"


def test_old_protocols_are_refused(certificate: Path) -> None:
    """TLS 1.2 is the oldest version, also of MongoDB's driver, which builds its own context."""
    for tls in (Tls.VERIFY, Tls.ENCRYPT):
        context = tls_context(tls, str(certificate))
        assert context is not None
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert tls_context(Tls.OFF) is None
    options = read_url(BackendURL.parse(f"mongodb://h/d?tls_ca={certificate}"))
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(
        options.address, **options.arguments
    )
    pools = client.options.pool_options
    Pools()(("h", 27017), pools)  # as the client does when it first needs a connection
    built: object = pools._ssl_context
    assert isinstance(built, ssl.SSLContext)
    assert built.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert built.verify_mode is ssl.CERT_REQUIRED
    assert not pools.tls_allow_invalid_hostnames


def test_a_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """Whatever is wrong with it, the error is ours."""
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    for ca in (path, tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigurationError) as error:
            tls_context(Tls.VERIFY, str(ca))
        assert error.value.condition is Condition.MISCONFIGURED


async def finding(backend: Backend) -> Condition:
    """Return what a failure to connect says, of a prober and of the backend itself."""
    prober = backend.prober()
    found: set[Condition] = set()
    for attempt in (prober.connect, backend.open):
        with pytest.raises(HealthstoreError) as error:
            await attempt()
        found.add(error.value.condition)
    await prober.close()
    (condition,) = found
    return condition


async def test_mongodb_s_certificate_is_a_matter_of_configuration(port: int) -> None:
    """The server is there, but not trusted."""
    url = f"mongodb://127.0.0.1:{port}/d?tls=verify&connect_timeout=0.5&directConnection=true"
    assert await finding(connect(BackendURL.parse(url))) is Condition.MISCONFIGURED
    with pytest.raises(ConfigurationError, match="encrypted"):
        await connect(BackendURL.parse(url)).open()


async def test_postgresql_s_certificate_is_a_matter_of_configuration(certificate: Path) -> None:
    """The same, behind its own way to begin TLS; with its authority it is trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    begun = 0

    async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        await reader.readexactly(8)
        writer.write(b"S")
        try:
            await writer.start_tls(context)
            begun += 1
        except OSError:
            return  # the client does not want us
        finally:
            writer.close()

    server = await asyncio.start_server(upgrade, "127.0.0.1", 0)
    url = f"postgresql://u@127.0.0.1:{server.sockets[0].getsockname()[1]}/d?tls="
    assert await finding(connect(BackendURL.parse(url + "verify"))) is Condition.MISCONFIGURED
    assert begun == 0
    trusted = f"{url}verify&tls_ca={certificate}"
    assert await finding(connect(BackendURL.parse(trusted))) is Condition.SUSPECT
    assert begun > 0
    server.close()
    await asyncio.sleep(0.1)  # asyncpg closes a transport that was refused a moment later


@pytest.mark.parametrize("tls", ["verify", "encrypt"])
async def test_a_server_without_tls_hears_no_password(tls: str) -> None:
    """Whoever strips the offer of TLS from MySQL's greeting is refused before the login."""
    said: list[bytes] = []

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(len(_GREETING).to_bytes(3, "little") + b"\x00" + _GREETING)
        said.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = BackendURL.parse(f"mysql://ann:hidden@127.0.0.1:{port}/d?tls={tls}")
    assert await finding(connect(url)) is Condition.MISCONFIGURED
    async with asyncio.timeout(5):
        while len(said) < 2:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.01)
    assert said == [b"", b""]
    server.close()
