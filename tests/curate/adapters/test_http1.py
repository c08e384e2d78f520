"""One connection: what is sent arrives whole, TLS is checked, a connection that ended is made anew."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from curate.adapters.vllm.http1 import OneConnection

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate of `localhost` in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


async def length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with the length of its body, in chunks."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            said = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length")), b":0")
            answer = str(len(await reader.readexactly(int(said.split(b":")[1])))).encode()
            writer.write(CHUNKED % (len(answer), answer))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one request, keeps the connection by its word, and closes it."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(CHUNKED % (2, b"ok"))
    await writer.drain()
    writer.close()


def asked(handle: Handle, trusted: ssl.SSLContext, *bodies: bytes, host: str = "localhost",
          own: ssl.SSLContext | None = None) -> list[str]:
    """What a server answers to bodies sent one after the other over one transport."""

    async def talk() -> list[str]:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=own)
        url = f"{'https' if own else 'http'}://{host}:{server.sockets[0].getsockname()[1]}/v1"
        async with server, httpx.AsyncClient(transport=OneConnection(trusted, 4.0), timeout=5.0) as client:
            answers = []
            for body in bodies:
                answers.append((await client.post(url, content=body)).text)
                await asyncio.sleep(0.01)
            return answers

    return asyncio.run(talk())


@pytest.mark.slow
def test_bodies_of_any_size_arrive_whole_over_tls(certificate: Path) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate)
    trusted = ssl.create_default_context(cafile=str(certificate))
    assert asked(length, trusted, b"", b"a", b"b" * 300_000, own=own) == ["0", "1", "300000"]


@pytest.mark.parametrize(("host", "is_trusted"), [("127.0.0.1", True), ("localhost", False)])
def test_a_certificate_of_another_host_or_of_nobody_is_refused(certificate: Path, host: str, is_trusted: bool) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(certificate)
    trusted = ssl.create_default_context(cafile=str(certificate) if is_trusted else None)
    with pytest.raises(httpx.ConnectError):
        asked(length, trusted, b"a", host=host, own=own)


@pytest.mark.slow
def test_a_connection_that_was_closed_while_idle_is_made_anew() -> None:
    assert asked(once, ssl.create_default_context(), b"a", b"b", host="127.0.0.1") == ["ok", "ok"]


def test_what_is_no_http_is_an_error_and_not_an_answer() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello\r\n\r\n")
        writer.close()

    with pytest.raises(httpx.RemoteProtocolError):
        asked(babble, ssl.create_default_context(), b"a", host="127.0.0.1")
