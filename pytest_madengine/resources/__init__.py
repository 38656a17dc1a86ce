"""The built-in ``scripts/common`` of every workspace: files that run inside containers (contract 11).

Nothing here runs on the host.  The executor lays these files below ``/myworkspace/scripts/common`` and the
repository's own files of the same path over them.  File modes do not matter: scripts are run with
``bash <file>`` and ``python3 <file>``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def scripts_common() -> Path:
    """Directory of the built-in files: what a container sees as ``/myworkspace/scripts/common``."""
    return Path(__file__).resolve().parent / "scripts" / "common"


def builtin_tools() -> dict[str, Any]:
    """The built-in ``tools.json`` (contract 11.1): an object with the key ``tools``.

    A new object every time: callers merge into it.
    """
    data = json.loads((scripts_common() / "tools.json").read_text(encoding="utf-8"))
    if not isinstance(data, dict):
        raise TypeError("the built-in tools.json is not an object")
    return data
