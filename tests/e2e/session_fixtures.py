"""Fixtures of the tests of whole sessions; loaded by name with ``pytest_plugins``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from session_support import Repository

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture
def repository(docker_client: DockerClient, tiny_image: str, tmp_path: Path) -> Iterator[Repository]:
    """An empty MAD repository; what its sessions leave in the engine is removed."""
    made = Repository(docker_client, tmp_path)
    yield made
    made.clean()


@pytest.fixture(scope="module")
def module_repository(
    docker_client: DockerClient, tiny_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Repository]:
    """The same for all tests of a module that look at one session."""
    made = Repository(docker_client, tmp_path_factory.mktemp("session"))
    yield made
    made.clean()
