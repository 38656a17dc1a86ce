"""The tiny image that other end-to-end tests rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.e2e

_APPLETS = (
    "sh cat cp mkdir chmod chown id whoami sleep env ls stat rm head tail grep sed date hostname tar seq yes "
    "dd printf touch find tr wc kill ps uname awk tee true false mv ln du dirname basename"
)


def test_tiny_image_has_bash_and_the_applets(docker_client: DockerClient, tiny_image: str) -> None:
    script = (
        f'for a in {_APPLETS}; do [ -x "/bin/$a" ] || echo "missing $a"; done; whoami; echo "$BASH_VERSION"'
    )
    output = docker_client.containers.run(
        tiny_image, ["/bin/bash", "-c", script], remove=True, network_mode="none"
    )
    lines = output.decode().split("\n")
    assert lines[0] == "root"
    assert lines[1].startswith("5.")


def test_env_finds_bash(docker_client: DockerClient, tiny_image: str) -> None:
    output = docker_client.containers.run(
        tiny_image, ["/usr/bin/env", "bash", "-c", "echo ok"], remove=True, network_mode="none"
    )
    assert output == b"ok\n"
