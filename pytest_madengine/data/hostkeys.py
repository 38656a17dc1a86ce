"""Who an SSH server is: its host key against a known_hosts file (contract 13.3).

paramiko is imported when first needed.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_madengine.data.provider import Unusable

if TYPE_CHECKING:
    from paramiko import SSHClient
    from paramiko.hostkeys import HostKeys
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

    client = paramiko.SSHClient()
    try:
        # Not load_host_keys: it would also write the file.
        client.get_host_keys().load(str(known_hosts))
        refuse_revoked(client.get_host_keys(), known_hosts)
    except FileNotFoundError:
        pass  # every host is unknown
    except (OSError, ValueError, paramiko.SSHException) as error:
        raise Unusable(f"{known_hosts}: {getattr(error, 'strerror', None) or error}") from None
    client.set_missing_host_key_policy(Refuse())
    return client


def refuse_revoked(keys: HostKeys, known_hosts: Path) -> None:
    """Takes out keys that the file marks as ``@revoked``, which paramiko does not understand."""
    text = known_hosts.read_text(encoding="utf-8", errors="replace")
    lines = [line.split() for line in text.splitlines() if line.startswith("@revoked")]
    revoked = {parts[3] for parts in lines if len(parts) > 3}
    if not revoked:
        return
    for hostname in list(keys):
        for kind, key in list(dict(keys[hostname]).items()):
            if key.get_base64() in revoked:
                del keys[hostname][kind]


def fingerprint(key: PKey) -> str:
    """As ``ssh`` prints it: ``ssh-ed25519 SHA256:...``."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"
