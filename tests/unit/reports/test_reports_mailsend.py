"""Messages, and sending them to real SMTP servers on loopback: with and without TLS and logins."""

from __future__ import annotations

import email
import email.policy
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError
from pytest_madengine.reports.mail.message import make_message, parse_address
from pytest_madengine.reports.mail.page import Mail
from pytest_madengine.reports.mail.reasons import Reasons
from pytest_madengine.reports.mail.send import PASSWORD, USER, MailError, send, smtp_server
from pytest_madengine.reports.mail.table import read_table

SECRET = "pässword-4711"
PLAIN = "plain-4711"
LOGIN = {USER: "mad", PASSWORD: SECRET}


def message_of(tmp_path: Path, name: str = "perf", rows: str = "m,SUCCESS\n") -> EmailMessage:
    path = tmp_path / f"{name}.csv"
    path.write_text(f"model,status\n{rows}", encoding="utf-8")
    sender = parse_address("MAD nights <mad@example.com>", "--from")
    return make_message(
        Mail((read_table(path),), Reasons(None)), sender, [parse_address("a@b.example", "--to")]
    )


# ---- the message ----------------------------------------------------------------------------------------


def test_a_message_that_every_relay_passes(tmp_path: Path) -> None:
    """ASCII, short lines, CRLF; both parts come back as they were."""
    data = message_of(tmp_path, rows="é😀" * 400 + ",FAILURE\n.,SUCCESS\n").as_bytes()
    assert data.isascii()
    lines = data.split(b"\r\n")
    assert max(map(len, lines)) <= 998
    assert not any(b"\n" in line or b"\r" in line for line in lines)
    read: Any = email.message_from_bytes(data, policy=email.policy.default)
    assert read.get_content_type() == "multipart/alternative"
    text, page = read.iter_parts()
    assert [part.get_content_type() for part in (text, page)] == ["text/plain", "text/html"]
    assert "é😀" in text.get_content()
    assert page.get_content().startswith("<!DOCTYPE html>")
    assert page.get_content().rstrip().endswith("</html>")
    assert read["subject"] == "MAD results: 1 FAILURE, 1 SUCCESS (perf)"
    assert str(read["from"]) == "MAD nights <mad@example.com>"
    assert read["to"] == "a@b.example"
    assert read["message-id"].endswith("@example.com>")
    assert abs(read["date"].datetime - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert read.defects == []


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_no_text_adds_a_header(tmp_path_factory: pytest.TempPathFactory, model: str, status: str) -> None:
    """Names of files, models and statuses are in the subject and the body, never beside them."""
    message = message_of(tmp_path_factory.mktemp("m"), "x\nBcc: evil@example.com", f'"{model}",{status}\n')
    read = email.message_from_bytes(message.as_bytes(), policy=email.policy.default)
    names = ["Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
    assert read.keys() == names


def test_many_files_make_no_long_subject(tmp_path: Path) -> None:
    tables = []
    for number in range(9):
        (tmp_path / f"{number}{'n' * 200}.csv").write_text("model,status\nm,SUCCESS\n")
        tables.append(read_table(tmp_path / f"{number}{'n' * 200}.csv"))
    message = make_message(Mail(tuple(tables), Reasons(None)), parse_address("a@b", "--from"))
    (line,) = [line for line in message.as_bytes().split(b"\r\n") if b"MAD results: 1 SUCCESS" in line][:1]
    assert line.startswith(b"Subject: MAD results: 1 SUCCESS (0")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a@b", "a@b"),
        ("Name <a.b+c@d.example>", '"Name" <a.b+c@d.example>'),
        ('"Last, First" <a@b>', '"Last, First" <a@b>'),
        ("Ü Ö <a@b>", "Ü Ö <a@b>"),
        ("x@münchen.example", "x@xn--mnchen-3ya.example"),
    ],
)
def test_addresses(text: str, address: str) -> None:
    found = parse_address(text, "--to")
    assert str(found).replace('"', "") == address.replace('"', "")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a", "@b", "a@", "a b@c", "a@b c", "a@b, c@d", "a@b;c@d", "<a@b> x", "a@b (x)", "ü@b"),
        *(
            "a@b\nBcc: c@d",
            "a\r\n@b",
            "x <a@b",
            "x a@b>",
            '"q q"@b',
            "a@b@c",
            "undisclosed:;",
            f"a@{'ü' * 64}.b",
        ),
    ],
)
def test_no_addresses(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--to: .* is no e-mail address"):
        parse_address(text, "--to")


# ---- the server's name ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tls", "host", "port", "shown"),
    [
        ("mail.example.com", "auto", "mail.example.com", 25, "mail.example.com:25"),
        ("mail.example.com", "tls", "mail.example.com", 465, "mail.example.com:465"),
        ("mail:587", "starttls", "mail", 587, "mail:587"),
        ("127.0.0.1:2525", "none", "127.0.0.1", 2525, "127.0.0.1:2525"),
        ("[::1]:2525", "none", "::1", 2525, "[::1]:2525"),
        ("[::1]", "auto", "::1", 25, "[::1]:25"),
        ("fe80::1", "auto", "fe80::1", 25, "[fe80::1]:25"),
    ],
)
def test_servers(text: str, tls: str, host: str, port: int, shown: str) -> None:
    server = smtp_server(text, tls, LOGIN)
    assert (server.host, server.port, str(server)) == (host, port, shown)
    assert SECRET not in repr(server)


@pytest.mark.parametrize(
    "text", ["", "a:b", "a:0", "a:65536", "a:1:2", "[zz]:1", "[::1]:x", "smtp://a", "a b", "u:p@host:25"]
)
def test_no_servers(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no HOST\[:PORT\]"):
        smtp_server(text, "auto", {})


def test_half_a_login_and_an_unknown_encryption() -> None:
    with pytest.raises(ConfigError, match=f"{PASSWORD} is not set"):
        smtp_server("a", "auto", {USER: "x"})
    with pytest.raises(ConfigError, match=f"{USER} is not set"):
        smtp_server("a", "auto", {PASSWORD: "x"})
    with pytest.raises(ConfigError, match="--smtp-tls: 'ssl'"):
        smtp_server("a", "ssl", {})


# ---- sending --------------------------------------------------------------------------------------------


class Mailbox:
    """Handler of a server: keeps what arrives."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.encrypted: list[bool] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.refused = ""

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address == self.refused:
            return "550 no such\tuser"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        self.envelopes.append(envelope)
        self.encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 OK"

    def authenticate(
        self, server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password.decode() in (SECRET, PLAIN), handled=False)


class TlsController(Controller):
    """A server whose own client, which waits for it to be ready, speaks TLS as well."""

    def _trigger_server(self) -> None:
        if self.ssl_context is None:
            super()._trigger_server()
            return
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection((self.hostname, self.port), 10) as plain,
            client.wrap_socket(plain) as wrapped,
        ):
            wrapped.recv(1024)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that nobody signed but itself, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test server")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The certificate, trusted as an authority of this process."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


Start = Callable[..., tuple[Mailbox, str]]


@pytest.fixture
def serve() -> Iterator[Start]:
    """Starts servers: mailbox and ``host:port`` of each."""
    running: list[Controller] = []

    def start(
        host: str = "127.0.0.1", starttls: Path | None = None, tls: Path | None = None, **options: Any
    ) -> Any:
        box = Mailbox()
        if starttls is not None:
            options["tls_context"] = server_context(starttls)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        context = server_context(tls) if tls is not None else None
        controller = TlsController(
            box, hostname=host, port=port, ssl_context=context, authenticator=box.authenticate, **options
        )
        controller.start()
        running.append(controller)
        return box, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    yield start
    for controller in running:
        controller.stop()


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def hand_over(tmp_path: Path, where: str, tls: str = "auto", to: str = "a@b.example", **environ: str) -> None:
    recipients = [parse_address(text, "--to") for text in to.split()]
    send(message_of(tmp_path), smtp_server(where, tls, environ), recipients, timeout=20)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_plain_server(serve: Start, tmp_path: Path, host: str) -> None:
    box, where = serve(host)
    hand_over(tmp_path, where, to="a@b.example c@d.example")
    (envelope,) = box.envelopes
    assert envelope.mail_from == "mad@example.com"
    assert envelope.rcpt_tos == ["a@b.example", "c@d.example"]
    assert isinstance(envelope.content, bytes)
    read = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert read["subject"] == "MAD results: 1 SUCCESS (perf)"
    assert (box.encrypted, box.logins) == ([False], [])


@pytest.mark.parametrize("password", [PLAIN, SECRET])
@pytest.mark.parametrize("tls", ["auto", "starttls"])
def test_starttls_with_a_login(serve: Start, tmp_path: Path, trusted: Path, tls: str, password: str) -> None:
    """Encryption is used when the server offers it, and the login follows it."""
    box, where = serve(starttls=trusted, auth_required=True)
    hand_over(tmp_path, where, tls, **{USER: "mad", PASSWORD: password})
    assert box.encrypted == [True]
    assert box.logins == [(b"mad", password.encode())]


# The server of the tests does not count TLS from the start as TLS.
@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_tls_from_the_start(serve: Start, tmp_path: Path, trusted: Path) -> None:
    box, where = serve(tls=trusted, auth_require_tls=False, auth_required=True)
    hand_over(tmp_path, where, "tls", **LOGIN)
    assert box.encrypted == [True]
    assert len(box.logins) == 1


def test_a_login_without_encryption_stays_on_this_machine(
    serve: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, where = serve(auth_require_tls=False)
    hand_over(tmp_path, where, **LOGIN)
    assert len(box.logins) == 1
    monkeypatch.setattr("pytest_madengine.reports.mail.send._is_here", lambda client: False)
    for tls in ("auto", "none"):
        with pytest.raises(
            MailError, match="no encrypted connection: the login of MAD_SMTP_USER is not sent"
        ):
            hand_over(tmp_path, where, tls, **LOGIN)
    assert len(box.logins) == 1
    hand_over(tmp_path, where, "none")
    assert len(box.envelopes) == 2


@pytest.mark.parametrize("tls", ["auto", "starttls", "tls"])
def test_certificates_are_verified(serve: Start, tmp_path: Path, certificate: Path, tls: str) -> None:
    """Nobody trusts this one: nothing is sent, the login neither, and a way out is named."""
    box, where = serve(**{"tls" if tls == "tls" else "starttls": certificate})
    with pytest.raises(MailError, match="its certificate is not trusted: self") as caught:
        hand_over(tmp_path, where, tls, **LOGIN)
    assert "SSL_CERT_FILE" in caught.value.hint
    assert (box.envelopes, box.logins) == ([], [])


def test_names_are_verified(serve: Start, tmp_path: Path, trusted: Path) -> None:
    """The certificate is of 127.0.0.1, not of ::1."""
    box, where = serve("::1", starttls=trusted)
    with pytest.raises(MailError, match=r"certificate is not trusted.*::1"):
        hand_over(tmp_path, where)
    assert box.envelopes == []


def test_starttls_that_is_not_offered(serve: Start, tmp_path: Path) -> None:
    _, where = serve()
    with pytest.raises(MailError, match=r"STARTTLS.* not supported") as caught:
        hand_over(tmp_path, where, "starttls")
    assert "--smtp-tls" in caught.value.hint


@pytest.mark.parametrize("wrong", ["wrong-4711", "wröng-4711"])
def test_a_wrong_password(serve: Start, tmp_path: Path, trusted: Path, wrong: str) -> None:
    box, where = serve(starttls=trusted, auth_required=True)
    with pytest.raises(MailError, match="login refused: 535") as caught:
        hand_over(tmp_path, where, **{**LOGIN, PASSWORD: wrong})
    assert wrong not in f"{caught.value.message}{caught.value.hint}"
    assert caught.value.__suppress_context__
    assert box.envelopes == []


def test_a_missing_login(serve: Start, tmp_path: Path, trusted: Path) -> None:
    _, where = serve(starttls=trusted, auth_required=True)
    with pytest.raises(MailError, match=r"530 5.7.0 Authentication required"):
        hand_over(tmp_path, where)


def test_recipients_that_are_refused(serve: Start, tmp_path: Path) -> None:
    """All of them: nothing is sent.  Some: the others have it, and the user hears of it."""
    box, where = serve()
    box.refused = "x@b.example"
    with pytest.raises(MailError, match=r"it refused x@b\.example \(550 no such user\)"):
        hand_over(tmp_path, where, to="x@b.example")
    assert box.envelopes == []
    with pytest.raises(MailError, match=r"took the message, but not for x@b\.example"):
        hand_over(tmp_path, where, to="a@b.example x@b.example")
    assert box.envelopes[0].rcpt_tos == ["a@b.example"]


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(MailError, match=f"127.0.0.1:{port}: the message was not sent: Connection refused"):
        hand_over(tmp_path, f"127.0.0.1:{port}")


def test_an_unknown_host(tmp_path: Path) -> None:
    with pytest.raises(MailError, match="unknown host"):
        hand_over(tmp_path, "no-such-host.invalid")


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        (b"554 go\x1b[31m away\r\n", "554 go.* away"),
        (b"", "Connection unexpectedly closed"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not sent"),
    ],
)
def test_what_is_no_mail_server(tmp_path: Path, greeting: bytes, said: str) -> None:
    """One line, whatever it answers."""
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(MailError, match=said) as caught:
            hand_over(tmp_path, f"127.0.0.1:{listening.getsockname()[1]}")
        thread.join(20)
    assert "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message


def test_a_login_that_the_server_does_not_know(serve: Start, tmp_path: Path) -> None:
    _, where = serve()
    for password in (PLAIN, SECRET):
        with pytest.raises(MailError, match=r"AUTH .*not supported") as caught:
            hand_over(tmp_path, where, **{USER: "mad", PASSWORD: password})
        assert "--smtp-tls" in caught.value.hint
