"""How a MAD repository changes what the plugin does: override a fixture.

Here credentials come from a vault instead of a ``credential.json`` in the repository.  The same works for
every ``mad_*`` fixture; see docs/reference.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

import pytest


def read_vault(path: str) -> dict[str, str]:
    """Reads the secret at ``path``.

    Stands for the client of a real vault, and needs no network: the key comes from ``DEMO_VAULT_KEY``, or is
    made up for this user and host.  Values given to the plugin are hidden in everything it writes.
    """
    made_up = hashlib.sha256(f"{path} {os.getuid()} {os.uname().nodename}".encode()).hexdigest()
    return {"username": "demo", "key": os.environ.get("DEMO_VAULT_KEY", made_up)}


@pytest.fixture(scope="session")
def mad_credentials() -> Mapping[str, Mapping[str, str]]:
    """Credentials by name, as ``credential.json`` would give them: ``"cred": "DEMO_SIGNING"`` picks one."""
    return {"DEMO_SIGNING": read_vault("benchmarks/demo/signing")}
