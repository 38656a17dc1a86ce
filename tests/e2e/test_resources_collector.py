"""The environment collector in a real container that has only bash and BusyBox (contract 11.3)."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest
from pytest_madengine.resources import scripts_common

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.e2e

#: What the run does before the model: copy the script into the model directory and run it there.
_COMMAND = """
cd /myworkspace/run_directory
cp ../scripts/common/pre_scripts/run_rocenv_tool.sh .
bash run_rocenv_tool.sh dummy_env "$1" UBUNTU >&2 || exit
cat ../dummy_env.csv
cat ../.dummy_env/os_information/os_information.txt >/dev/null
"""


def _scripts() -> bytes:
    """The workspace as a tar: copied in, so that the test also works with an engine on another host."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(scripts_common(), "myworkspace/scripts/common")
        directory = tarfile.TarInfo("myworkspace/run_directory")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(directory)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["lite", "full"])
def test_collector_in_a_tiny_image(docker_client: DockerClient, tiny_image: str, mode: str) -> None:
    container = docker_client.containers.create(
        tiny_image,
        ["/bin/bash", "-c", _COMMAND, "bash", mode],
        environment={"MAD_GPU_VENDOR": "AMD", "HIP_VISIBLE_DEVICES": "0", "ROCM_TOKEN": "tops3cret"},
        hostname="tiny-host",
        network_mode="none",
    )
    try:
        container.put_archive("/", _scripts())
        container.start()
        status = container.wait(timeout=60)["StatusCode"]
        text = container.logs(stdout=True, stderr=False).decode()
        errors = container.logs(stdout=False, stderr=True).decode()
    finally:
        container.remove(force=True)
    assert status == 0, errors
    assert errors == f"environment details ({mode}): dummy_env.csv, .dummy_env/\n"
    lines = text.splitlines()
    assert lines[:2] == ["sep=|", "------- Section: os_information ----------"]
    assert "Node name|tiny-host" in lines
    assert "HIP_VISIBLE_DEVICES|0" in lines
    assert "ROCM_TOKEN|***" in lines
    assert "tops3cret" not in text
    assert ("------- Section: bios_settings ----------" in lines) == (mode == "full")
    assert lines[lines.index("------- Section: numa_balancing ----------") + 1].startswith("Numa Balacing|")
