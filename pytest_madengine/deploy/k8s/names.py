"""Names of Kubernetes objects: what the API accepts, made from names that may be anything (contract 16.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from pytest_madengine.errors import ConfigError
from pytest_madengine.util.names import hashed

#: Longest name of most objects, and of container names and label values.
LONGEST_NAME: Final = 253
LONGEST_LABEL: Final = 63
#: Of a hash.
_DIGITS: Final = 12
_LABEL_VALUE: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_FILE_KEY: Final = re.compile(r"[-._A-Za-z0-9]{1,253}", re.ASCII)


def object_name(model: str, longest: int = LONGEST_NAME) -> str:
    """``madengine-<model>``: lower case, every run of other characters ``-``; too long: with a hash."""
    name = re.sub(r"[^a-z0-9]+", "-", f"madengine-{model}".lower()).strip("-")
    return name if len(name) <= longest else hashed(name, model, longest, digits=_DIGITS)


def label_value(text: str) -> str:
    """A text as the value of a label: itself where it is one, else close to it and with a hash."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    readable = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")
    return hashed(readable, text, LONGEST_LABEL, digits=_DIGITS)


def file_keys(paths: Iterable[str]) -> dict[str, str]:
    """A key of a ConfigMap, where ``/`` is not allowed, for each relative path; no two are the same."""
    keys: dict[str, str] = {}
    for path in paths:
        key = path.replace("/", ".")
        if not _FILE_KEY.fullmatch(key) or key in {".", ".."} or key in keys.values():
            readable = re.sub(r"[^-._A-Za-z0-9]+", "-", key).strip("-.")
            key = hashed(readable, path, LONGEST_NAME, digits=_DIGITS)
        keys[path] = key
    return keys


def check_dns_label(text: str, what: str) -> str:
    """The text, which names a namespace or an object whose name is part of a host name.

    :raises ConfigError: the API would refuse it.
    """
    if not _DNS_LABEL.fullmatch(text):
        raise ConfigError(
            f"{what}: {text!r} is not a valid name", hint="a-z, 0-9 and -, at most 63, e.g. ml-bench"
        )
    return text


def check_dns_name(text: str, what: str) -> str:
    """The text, which names an object that must exist already.

    :raises ConfigError: no object can have that name.
    """
    if len(text) > LONGEST_NAME or not _DNS_NAME.fullmatch(text):
        raise ConfigError(
            f"{what}: {text!r} is not a valid object name", hint="a-z, 0-9, - and ., at most 253"
        )
    return text


def check_environment(text: str) -> str:
    """``--environment``: a label value, because it becomes one, and a directory name.

    :raises ConfigError: it is not.
    """
    if not _LABEL_VALUE.fullmatch(text) or ".." in text:
        raise ConfigError(
            f"--environment: {text!r} is not a valid name of an environment",
            hint="letters, digits, -, _ and ., at most 63, e.g. staging",
        )
    return text
