"""A script that makes the Secrets of generated Jobs from variables of whoever runs it.

It holds names only.  Values go from the environment to kubectl through pipes: they are in no file and in no
argument list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pytest_madengine.deploy.k8s.objects import JobSecrets
from pytest_madengine.deploy.shelltext import quote, template

_INVALID: Final = re.compile(r"[^A-Za-z0-9_]+")
#: Server of Docker Hub in a docker configuration file.
_HUB: Final = "https://index.docker.io/v1/"
REGISTRY_USER: Final = "MAD_REGISTRY_USERNAME"
REGISTRY_PASSWORD: Final = "MAD_REGISTRY_PASSWORD"


@dataclass(frozen=True)
class SecretScript:
    """The script, and the variables that it reads."""

    text: str
    variables: tuple[str, ...]
    #: Variables with paths of files.
    files: tuple[str, ...]
    #: A login is made when these are set.
    registry: tuple[str, ...]


def variable_of(key: str, source: str) -> str:
    """The variable of the person who makes the Secret, for one key of it.

    ``env:NAME`` is that variable, ``credential:KEY.FIELD`` is ``KEY_FIELD`` in capitals as in containers.
    """
    kind, _, name = source.partition(":")
    if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
        return name
    if kind == "credential" and name:
        head, _, field = name.rpartition(".")
        key = f"{head}_{field.upper()}"
    variable = _INVALID.sub("_", key)
    return f"_{variable}" if variable[:1].isdigit() else variable


def secret_script(secrets: Sequence[JobSecrets], namespace: str) -> SecretScript | None:
    """The script for these Jobs; ``None`` when they need no Secret."""
    lines: list[str] = []
    variables: dict[str, None] = {}
    files: dict[str, None] = {}
    registry = False
    for one in secrets:
        if one.runtime:
            words = []
            for key, source in one.variables.items():
                name = variable_of(key, source)
                variables[name] = None
                words.append(quote(f"{key}={name}"))
            for key, path in one.files.items():
                name = "MAD_SSH_KEY_FILE" if key == "ssh-key" else "MAD_KNOWN_HOSTS_FILE"
                files[name] = None
                lines.append(f"[[ -n ${{{name}-}} ]] || {name}={quote(path)}")
                words.append(quote(f"@{key}={name}"))
            lines.append(f"runtime_secret {quote(one.runtime)} {' '.join(words)}")
        if one.pull:
            registry = True
            lines.append(f"registry_secret {quote(one.pull)} {quote(one.registry or _HUB)}")
    if not lines:
        return None
    head = [
        "#!/usr/bin/env bash",
        "# Made by pytest-madengine: makes the Secrets of the Jobs from variables.  It holds no values.",
        f"namespace={quote(namespace)}",
    ]
    text = "\n".join(head) + "\n" + template("secrets.sh") + "\n".join(dict.fromkeys(lines)) + "\n"
    pair = (REGISTRY_USER, REGISTRY_PASSWORD) if registry else ()
    return SecretScript(text, tuple(variables), tuple(files), pair)
