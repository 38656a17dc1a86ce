"""A MIME message of a page and its text: ``--eml``, and what is sent."""

from __future__ import annotations

import email.policy
import email.utils
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage

from pytest_madengine.errors import ConfigError
from pytest_madengine.reports.mail.page import Mail
from pytest_madengine.reports.mail.text import mail_text


def parse_address(text: str, option: str) -> Address:
    """``user@host`` or ``Name <user@host>``, exactly one.

    :param option: the option it was given with, for the message.
    :raises ConfigError: anything else; a line break or a second address would add headers or readers.
    """
    name, found = email.utils.parseaddr(text) if text.isprintable() else ("", "")
    try:
        address = Address(display_name=name, addr_spec=found)
        # As DNS writes it: headers have nothing else.
        domain = address.domain.encode("idna").decode("ascii")
    except (MessageError, ValueError, IndexError):
        address, domain = Address(), ""
    user = address.username
    # parseaddr takes the first of several addresses and drops comments: what is left must be all there was.
    whole = found == text.strip() or re.fullmatch(rf"[^<>]*<{re.escape(found)}>", text.strip()) is not None
    if not user or not domain or not whole or re.search(r"[\s,;<>\"]", found):
        raise ConfigError(
            f"{option}: {text!r} is no e-mail address", hint="write user@host, or 'Name <user@host>'"
        )
    return Address(display_name=name, username=user, domain=domain)


def make_message(
    mail: Mail, sender: Address, recipients: Sequence[Address] = (), when: datetime | None = None
) -> EmailMessage:
    """``multipart/alternative``: the text, then the page as far as mail programs show it.

    Both parts are in ASCII with encoded lines of at most 76 characters, so any relay passes them unchanged.

    :param when: time of the Date header; default: now.
    """
    message = EmailMessage(policy=email.policy.SMTP)
    message["Subject"] = mail.subject
    message["From"] = sender
    if recipients:
        message["To"] = tuple(recipients)
    message["Date"] = email.utils.format_datetime(when or datetime.now(timezone.utc))
    message["Message-ID"] = email.utils.make_msgid(domain=sender.domain)
    # A reader who is away answers nothing, and other programs do not take it for a person's mail.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail_text(mail), cte="quoted-printable")
    message.add_alternative(mail.message(), subtype="html", cte="quoted-printable")
    return message
