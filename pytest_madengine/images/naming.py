"""Names of images, containers and log files (contract 8.2), always valid for docker and file systems."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pytest_madengine.plan.names import container_name, flat_name, log_name
from pytest_madengine.util.names import shortened

__all__ = [
    "Name",
    "container_name",
    "image_name",
    "is_reference",
    "log_name",
    "parameter_hash",
    "random_suffix",
    "repaired_image_name",
]

#: Longest repository name docker accepts, in characters.
MAX_IMAGE: Final = 255
#: Longest name of our own: docker counts the registry and the path before it as well, its default too.
_MAX_OWN: Final = 200

# Grammar of github.com/distribution/reference.
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)"
_DOMAIN: Final = rf"(?:{_HOST}|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
_REFERENCE: Final = re.compile(
    rf"(?P<name>(?:{_DOMAIN}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)
_SEPARATORS: Final = re.compile(r"[._-]+")
_VALID_SEPARATOR: Final = re.compile(r"\.|__?|-+")


@dataclass(frozen=True)
class Name:
    """A name docker accepts, and what had to be changed for that."""

    text: str
    #: Empty when nothing was repaired.
    note: str = ""


def is_reference(text: str) -> bool:
    """True when docker accepts the text as an image reference: name, tag, digest or an image id."""
    match = _REFERENCE.fullmatch(text)
    return match is not None and len(match["name"]) <= MAX_IMAGE


def image_name(
    model_name: str, base: str, build_parameters: Mapping[str, str] | None = None, arch: str = ""
) -> str:
    """``ci-<model>_<base>[-<8 hex>][_<arch>]``, repaired where docker would reject it.

    :param build_parameters: selector parameters that became build arguments.
    :param arch: target architecture of a build for several (``--target-archs``).
    """
    return repaired_image_name(model_name, base, build_parameters, arch).text


def repaired_image_name(
    model_name: str,
    base: str,
    build_parameters: Mapping[str, str] | None = None,
    arch: str = "",
    suffix: str = "",
) -> Name:
    """Like :func:`image_name`, with a note when the plain form would be rejected."""
    wanted = f"ci-{flat_name(model_name).lower()}_{base}"
    if build_parameters:
        wanted += f"-{parameter_hash(build_parameters)}"
    if arch:
        wanted += f"_{arch}"
    if suffix:
        wanted += f"-{suffix}"
    text = shortened(_repaired(wanted), _MAX_OWN)
    note = f"image name {wanted!r} is not valid for docker: {text} is used" if text != wanted else ""
    return Name(text, note)


def parameter_hash(build_parameters: Mapping[str, str]) -> str:
    """8 hex digits over sorted names and values."""
    text = json.dumps(sorted(build_parameters.items()), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def random_suffix() -> str:
    """8 random hex digits: container names of concurrent runs differ."""
    return secrets.token_hex(4)


def _repaired(name: str) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", name.lower())

    def separator(match: re.Match[str]) -> str:
        return match[0] if _VALID_SEPARATOR.fullmatch(match[0]) else "-"

    return _SEPARATORS.sub(separator, name).strip("._-")
