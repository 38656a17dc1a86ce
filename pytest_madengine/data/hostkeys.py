"""Who an SSH server is: its host key against a known_hosts file (contract 13.3).

paramiko is imported when first needed.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_madengine.data.provider import Unusable

if TYPE_CHECKING:
    from paramiko import SSHClient
    from paramiko.pkey import PKey


def known_hosts_file(given: Path | None, home: str) -> Path:
    """The file that is used: of ``--mad-known-hosts``, else of the user.

    :param home: ``HOME`` of the environment; empty: asked from the system.
    """
    if given is not None:
        return given
    return (Path(home) if home else Path("~").expanduser()) / ".ssh" / "known_hosts"


def verifying_client(known_hosts: Path) -> SSHClient:
    """A client that refuses every host whose key is not in the file.

    :raises Unusable: the file cannot be read.
    """
    import paramiko

    class Refuse(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
            raise Unusable(
                f"the host key of {hostname} is not known: {fingerprint(key)}; "
                f"verify it, then add it to {known_hosts}"
            )

    # What it logs is raised as well; without any handler Python would print it.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    client = paramiko.SSHClient()
    try:
        text = known_hosts.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""  # every host is unknown
    except OSError as error:
        client.close()
        raise Unusable(f"{known_hosts}: {error.strerror}") from None
    for hostname, key in trusted_keys(text):
        client.get_host_keys().add(hostname, key.get_name(), key)
    client.set_missing_host_key_policy(Refuse())
    return client


def trusted_keys(text: str) -> Iterator[tuple[str, PKey]]:
    """Host names (plain, or hashed) and keys of a known_hosts file.

    Keys marked as ``@revoked`` are left out wherever they stand, and so are certificate authorities and
    lines that cannot be read: their hosts are unknown.  Of two keys of one kind the last one counts.
    """
    from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
    from paramiko.ssh_exception import SSHException

    lines = [line.split() for line in text.splitlines()]
    revoked = {parts[3] for parts in lines if len(parts) > 3 and parts[0] == "@revoked"}
    for parts in lines:
        if len(parts) < 3 or parts[0].startswith(("#", "@")) or parts[2] in revoked:
            continue
        try:
            entry = HostKeyEntry.from_line(" ".join(parts[:3]))
        except (InvalidHostKey, SSHException, ValueError):
            continue
        if entry is not None and entry.key is not None:
            for hostname in entry.hostnames or ():
                yield hostname, entry.key


def fingerprint(key: PKey) -> str:
    """As ``ssh`` prints it: ``ssh-ed25519 SHA256:...``."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"
