"""A playbook that runs the models of a manifest on GPU nodes (contract 19.2).

Texts of others (paths, the additional context) carry ``!unsafe``, so that Ansible never takes them for
templates; images are checked references.  The hosts decide how a model runs: each runs ``madengine-cli`` with
the manifest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.deploy.ansible.tasks import tasks
from pytest_madengine.deploy.k8s.names import check_environment
from pytest_madengine.deploy.yamltext import Unsafe
from pytest_madengine.errors import ConfigError

#: Paths that may stand in a template.
_SAFE_PATH: Final = re.compile(r"[A-Za-z0-9_./-]+", re.ASCII)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class PinnedImage:
    """An image by digest; ``registry`` is empty for Docker Hub."""

    registry: str
    path: str
    digest: str
    #: Name under which ``--registry`` looks for it in another registry.
    name: str


@dataclass(frozen=True)
class PlaybookParts:
    """What a playbook is made of."""

    #: Manifest and MAD root; relative to the playbook, or absolute.
    manifest: str
    root: str
    #: Entries of the MAD root that hosts need.
    files: Sequence[str]
    images: Sequence[PinnedImage]
    #: Server to log in to; empty: Docker Hub.
    registry: str
    environment: str
    #: Variables and credentials that the manifest refers to.
    variables: Sequence[str] = ()
    credentials: Sequence[str] = ()
    #: Additional context as JSON; empty: none.
    context: str = ""


def split_reference(reference: str, has_server: bool, name: str) -> PinnedImage:
    """``registry/path@digest`` in its parts.

    :param name: the local name of the image.
    """
    repository, _, digest = reference.partition("@")
    server, _, path = repository.partition("/") if has_server else ("", "", repository)
    head, slash, last = name.partition("@")[0].rpartition("/")
    return PinnedImage(server, path, digest, f"{head}{slash}{last.partition(':')[0]}")


def playbook(parts: PlaybookParts) -> list[dict[str, Any]]:
    """The playbook as data.

    :raises ConfigError: a name that the manifest refers to cannot be a variable.
    """
    check_environment(parts.environment)
    for name in parts.variables:
        if not _VARIABLE.fullmatch(name):
            raise ConfigError(f"the manifest refers to {name!r}, which cannot be an environment variable")
    return [
        {
            "name": "Run MAD models on GPU nodes",
            "hosts": "gpu_nodes",
            "gather_facts": False,
            "vars": _variables(parts),
            "tasks": tasks(parts.files, bool(parts.context)),
        }
    ]


def _place(path: str) -> str:
    """A path as a text of the playbook."""
    if path.startswith("/"):
        return Unsafe(path)
    return "{{ playbook_dir }}/" + path if _SAFE_PATH.fullmatch(path) else Unsafe(path)


def _variables(parts: PlaybookParts) -> dict[str, Any]:
    variables: dict[str, Any] = {
        # Stays on, whatever ansible.cfg or the environment say.
        "ansible_host_key_checking": True,
        "mad_environment": parts.environment,
        "mad_manifest": _place(parts.manifest),
        "mad_root": _place(parts.root),
        "mad_images": [
            {"registry": one.registry, "path": one.path, "digest": one.digest, "name": one.name}
            for one in parts.images
        ],
        "mad_variables": list(parts.variables),
        "mad_credentials": [Unsafe(name) for name in parts.credentials],
        "mad_login_server": "{{ (registry_url | default("
        + _literal(parts.registry)
        + ", true)).split('/')[0] }}",
        "mad_command": "{{ madengine_command | default('madengine-cli') }}",
        "mad_results": (
            "{{ results_path | default(playbook_dir ~ '/madengine_results') }}"
            "/{{ mad_environment }}/{{ inventory_hostname }}"
        ),
        "mad_docker": (
            "{{ {'DOCKER_CONFIG': mad_work.path ~ '/docker'} if registry_password is defined else {} }}"
        ),
    }
    return {**variables, "mad_context": Unsafe(parts.context)} if parts.context else variables


def _literal(text: str) -> str:
    """A checked registry name as a Jinja text."""
    if text and not re.fullmatch(r"[A-Za-z0-9_.:\[\]-]+", text, re.ASCII):
        raise ConfigError(f"{text!r} is no registry")
    return f"'{text}'"
