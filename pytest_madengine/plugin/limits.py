"""Limits of this process under which nothing can run."""

from __future__ import annotations

import resource
from typing import Final

from pytest_madengine.errors import ConfigError

#: Descriptors that a session with one model needs; imports alone fail with a handful.
LEAST_DESCRIPTORS: Final = 64


def check_limits() -> None:
    """Says at once what would otherwise fail somewhere in the middle.

    :raises ConfigError: too few file descriptors.
    """
    number, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= number < LEAST_DESCRIPTORS:
        raise ConfigError(
            f"this process may open {number} files, and at least {LEAST_DESCRIPTORS} are needed",
            hint="raise the limit: ulimit -n 1024",
        )
