"""Sending a message by SMTP."""

from __future__ import annotations

import base64
import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Final

from pytest_madengine.errors import ConfigError, MadError
from pytest_madengine.secrets import Redactor, Secret
from pytest_madengine.util.text import plain

#: Values of ``--smtp-tls``; ``auto``: when the server offers it.
TLS: Final = ("auto", "starttls", "tls", "none")
USER: Final = "MAD_SMTP_USER"
PASSWORD: Final = "MAD_SMTP_PASSWORD"
#: Seconds for each answer of the server.
TIMEOUT: Final = 60.0
_HOST: Final = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::(?P<port6>[0-9]{1,9}))?"
    r"|(?P<name>[^\s:\[\]/@]+)(?::(?P<port>[0-9]{1,9}))?"
)


class MailError(MadError):
    """A message was not sent, or not to everybody."""

    phase = "mail"
    infrastructure = True


@dataclass(frozen=True)
class SmtpServer:
    """Where and how mail is handed over.  Printing it never shows the password."""

    host: str
    port: int
    tls: str = "auto"
    user: str = ""
    password: Secret = field(default_factory=lambda: Secret(""))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def smtp_server(text: str, tls: str, environ: Mapping[str, str]) -> SmtpServer:
    """The server of ``--smtp HOST[:PORT]``, with the login of the environment.

    An IPv6 address is written ``[::1]:25``; without a port also ``::1``.  Default port: 465 with ``tls``,
    else 25.

    :raises ConfigError: not such a text, an unknown ``--smtp-tls``, half a login.
    """
    if tls not in TLS:
        raise ConfigError(f"--smtp-tls: '{tls}' is none of {', '.join(TLS)}")
    host, port = _host_port(text.strip())
    user, password = environ.get(USER, ""), environ.get(PASSWORD, "")
    if bool(user) != bool(password):
        missing = PASSWORD if user else USER
        raise ConfigError(f"{missing} is not set", hint=f"set both {USER} and {PASSWORD}, or none of them")
    return SmtpServer(host, port or (465 if tls == "tls" else 25), tls, user, Secret(password))


def _host_port(text: str) -> tuple[str, int]:
    """Host without brackets, and the port; 0 without one."""
    found = _HOST.fullmatch(text)
    digits = (found["port6"] or found["port"]) if found is not None else None
    try:
        # An IPv6 address without brackets is taken too; it cannot have a port.
        host = found["name"] if found is not None else None
        host = host or str(ipaddress.ip_address(found["v6"] if found is not None else text))
        if digits is None or 0 < int(digits) < 65536:
            return host, int(digits or 0)
    except ValueError:
        pass
    raise ConfigError(
        f"--smtp: '{text}' is no HOST[:PORT]", hint="write e.g. mail.example.com:25 or [::1]:25"
    )


def send(
    message: EmailMessage, server: SmtpServer, recipients: Sequence[Address], timeout: float = TIMEOUT
) -> None:
    """Hands the message over for all recipients.

    Certificates are verified.  A login is sent over TLS only, or to this machine.

    :raises MailError: the server is not there, refuses, or takes it for some recipients only.
    """
    try:
        with _connect(server, timeout) as client:
            if server.user:
                _login(client, server.user, server.password.reveal())
            addresses = [address.addr_spec for address in recipients]
            refused = client.send_message(message, to_addrs=addresses)
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise _mail_error(server, error) from None
    if refused:
        raise MailError(
            f"{server} took the message, but not for {_refusals(server, refused)}", hint="check --to"
        )


def _connect(server: SmtpServer, timeout: float) -> smtplib.SMTP:
    context = ssl.create_default_context()
    if server.tls == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=timeout, context=context)
    client = smtplib.SMTP(server.host, server.port, timeout=timeout)
    try:
        client.ehlo_or_helo_if_needed()
        if server.tls == "starttls" or (server.tls == "auto" and client.has_extn("starttls")):
            client.starttls(context=context)
        elif server.user and not _is_here(client):
            raise MailError(
                f"{server} has no encrypted connection: the login of {USER} is not sent",
                hint="use --smtp-tls tls or starttls, or another port (465, 587)",
            )
    except BaseException:
        client.close()
        raise
    return client


def _login(client: smtplib.SMTP, user: str, password: str) -> None:
    if (user + password).isascii():
        client.login(user, password)
        return
    # smtplib knows ASCII only; RFC 4616 says UTF-8.
    client.ehlo_or_helo_if_needed()
    if "PLAIN" not in client.esmtp_features.get("auth", "").upper().split():
        raise smtplib.SMTPNotSupportedError("AUTH PLAIN is not supported by the server")
    answer = base64.b64encode(f"\0{user}\0{password}".encode()).decode("ascii")
    code, text = client.docmd("AUTH", f"PLAIN {answer}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, text)


def _is_here(client: smtplib.SMTP) -> bool:
    """True when the other end of the connection is this machine."""
    assert client.sock is not None
    if client.sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    address = ipaddress.ip_address(client.sock.getpeername()[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _mail_error(server: SmtpServer, error: Exception) -> MailError:
    """One line about what the server or the network said."""
    said, hint = str(error), ""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        said, hint = f"it refused {_refusals(server, error.recipients)}", "check --to"
    elif isinstance(error, smtplib.SMTPAuthenticationError):
        said, hint = (
            f"login refused: {_answer(error.smtp_code, error.smtp_error)}",
            f"check {USER} and {PASSWORD}",
        )
    elif isinstance(error, smtplib.SMTPResponseException):
        said = _answer(error.smtp_code, error.smtp_error)
    elif isinstance(error, ssl.SSLCertVerificationError):
        said = f"its certificate is not trusted: {error.verify_message}"
        hint = (
            "name its authority with the variable SSL_CERT_FILE; on this machine --smtp-tls none does as well"
        )
    elif isinstance(error, smtplib.SMTPNotSupportedError):
        hint = "choose another --smtp-tls or port"
    elif isinstance(error, socket.gaierror):
        said = f"unknown host ({error.strerror})"
    elif isinstance(error, OSError) and error.strerror:
        said = error.strerror
    said = Redactor([server.password]).text(" ".join(plain(said).split()))
    return MailError(f"{server}: the message was not sent: {said}", hint=hint)


def _refusals(server: SmtpServer, refused: Mapping[str, tuple[int, bytes]]) -> str:
    texts = [f"{name} ({_answer(*answer)})" for name, answer in refused.items()]
    return Redactor([server.password]).text(", ".join(texts))


def _answer(code: int, text: bytes | str) -> str:
    """What a server answered, on one line."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return " ".join(plain(f"{code} {words}").split())[:300]
