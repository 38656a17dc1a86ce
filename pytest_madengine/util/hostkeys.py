"""Who an SSH server is: its host key against known_hosts files (contract 13.3, 18.1).

One reader for data on NAS hosts and for tunnels to databases; clones use ``ssh`` itself.  paramiko, which is
imported when first needed, fails on markers and takes what follows ``@cert-authority`` for the key of a host.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

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


def verifying_client(files: Sequence[Path], refused: Callable[[str], Exception]) -> SSHClient:
    """A client that refuses every host whose key is not in the files, or is revoked in one of them.

    :param refused: makes the exception of a refusal from its reason, one line.
    :raises Exception: what ``refused`` made: a file cannot be read.
    """
    import paramiko

    text = "\n".join(_text_of(path, refused) for path in files)
    revoked = revoked_keys(text)
    place = files[-1] if files else "known_hosts"

    class Refuse(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:
            if key.get_base64() in revoked:
                raise refused(f"the host key of {hostname} is revoked in {place}: {fingerprint(key)}")
            raise refused(
                f"the host key of {hostname} is not known: {fingerprint(key)}; "
                f"verify it, then add it to {place}"
            )

    # What it logs is raised as well; without any handler Python would print it.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    client = paramiko.SSHClient()
    for hostname, key in trusted_keys(text):
        client.get_host_keys().add(hostname, key.get_name(), key)
    client.set_missing_host_key_policy(Refuse())
    return client


def _text_of(path: Path, refused: Callable[[str], Exception]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""  # every host is unknown
    except OSError as error:
        raise refused(f"{path}: {error.strerror}") from None


def revoked_keys(text: str) -> frozenset[str]:
    """Base64 of the keys marked as ``@revoked``, for whatever hosts."""
    lines = (line.split() for line in text.splitlines())
    return frozenset(parts[3] for parts in lines if len(parts) > 3 and parts[0] == "@revoked")


def trusted_keys(text: str) -> Iterator[tuple[str, PKey]]:
    """Host names (plain, or hashed) and keys of a known_hosts text.

    Keys marked as ``@revoked`` are left out wherever they stand, and so are certificate authorities and
    lines that cannot be read: their hosts are unknown.  Of two keys of one kind the last one counts.
    """
    from paramiko.hostkeys import HostKeyEntry, InvalidHostKey
    from paramiko.ssh_exception import SSHException

    revoked = revoked_keys(text)
    for parts in (line.split() for line in text.splitlines()):
        if len(parts) < 3 or parts[0].startswith(("#", "@")) or parts[2] in revoked:
            continue
        try:
            entry = HostKeyEntry.from_line(" ".join(parts[:3]))
        except (InvalidHostKey, SSHException, ValueError):
            continue
        if entry is not None and entry.key is not None:
            for hostname in entry.hostnames or ():
                if not hostname.startswith("|") or _is_hashed(hostname):
                    yield hostname, entry.key


def _is_hashed(hostname: str) -> bool:
    """False for a damaged hash, on which paramiko fails when it looks for any host."""
    parts = hostname.split("|")
    try:
        return len(parts) == 4 and parts[1] == "1" and len(base64.b64decode(parts[2], validate=True)) == 20
    except ValueError:
        return False


def fingerprint(key: PKey) -> str:
    """As ``ssh`` prints it: ``ssh-ed25519 SHA256:...``."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"
