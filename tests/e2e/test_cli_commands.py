"""The command lines on a running engine: what options of ``run`` and ``build`` do to real containers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from registry_servers import PASSWORD, USER, Registry, running_registry
from session_support import Repository

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
pytest_plugins = ["session_fixtures"]

PROJECT = Path(__file__).parents[2]
MODULES = {"madengine": "pytest_madengine", "madengine-cli": "madengine.distributed_cli"}
CPU = ("--additional-context", "{'gpu_vendor': 'CPU'}")


@dataclass
class Done:
    """A command that ended."""

    code: int
    output: str


def call(repository: Repository, *args: str, program: str = "madengine", **environment: str) -> Done:
    """One command in the repository; perf.csv and results beside it, as ``Repository`` reads them."""
    environ = {name: text for name, text in os.environ.items() if not re.match("MAD_|PYTEST_|GITHUB_", name)}
    placed = ["--output", str(repository.out / "perf.csv"), "--results-dir", str(repository.out / "results")]
    done = subprocess.run(
        [sys.executable, "-m", MODULES[program], args[0], *placed, "--no-pull", *args[1:]],
        cwd=repository.root,
        env={**environ, "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def login(repository: Repository, registry: Registry) -> None:
    path = repository.root / "credential.json"
    path.write_text(json.dumps({registry.host: {"username": USER, "password": PASSWORD}}))
    path.chmod(0o600)


# ---- run -----------------------------------------------------------------------------------------------


def test_exit_statuses_and_rows(repository: Repository) -> None:
    """Defects 10, 46: given a good, a failing, an unbuildable and a skipped model / run / 2, one row each,
    and the others still ran; without the unbuildable one 3; the good and the skipped one alone 0."""
    broken = repository.dockerfile("RUN exit 3", name="broken")
    repository.model("good").model("bad", "exit 7").model("unbuilt", dockerfile=broken)
    repository.model("old", is_deprecated=True)
    everything = call(repository, "run", "--tags", "all_of_it", "-s", str(repository.out / "s.json"))
    assert everything.code == 2, everything.output
    assert repository.statuses() == {
        "good": "SUCCESS",
        "bad": "FAILURE",
        "unbuilt": "FAILURE",
        "old": "SKIPPED",
    }
    summary = json.loads((repository.out / "s.json").read_text())
    assert summary["overall_success"] is False
    assert [one["model"] for one in summary["build_phase"]["failed_builds"]] == ["unbuilt"]
    assert call(repository, "run", "--tags", "good", "bad", program="madengine-cli").code == 3
    assert call(repository, "run", "-t", "good,old").code == 0
    repository.assert_nothing_left()


def test_a_run_as_madengine_users_type_it(repository: Repository) -> None:
    """Defects 6, 17, 43, 44: every option of contract 19.2 at once, long spellings."""
    repository.model("m", "echo $MARK; echo deep > left; echo performance: 1.5e3 tok/s", url="")
    (repository.root / "ctx.json").write_text(json.dumps({"docker_env_vars": {"MARK": "from the file"}}))
    (repository.root / "d.json").write_text("{}")
    (repository.root / "t.json").write_text('{"tools": {}, "docker": {"environment": {"EXTRA": "1"}}}')
    done = call(
        repository,
        *("run", "--tags", "m", "--timeout", "50", "--live-output", "--clean-docker-cache"),
        *("--additional-context", "{'tools': [{'name': 'test_tools_A'}]}"),
        *("--additional-context-file", "ctx.json", "--data-config-file-name", "d.json"),
        *("--tools-json-file-name", "t.json", "--generate-sys-env-details", "False"),
        *("--force-mirror-local", str(repository.out / "mirror"), "--keep-model-dir"),
        *("--disable-skip-gpu-arch", "--ignore-deprecated-flag", "--cleanup-perf"),
        *("--summary-output", str(repository.out / "s.json"), "--strict-log"),
    )
    assert done.code == 0, done.output
    row = repository.row("m")
    assert (row["performance"], row["metric"]) == ("1.5e3", "tok/s")
    log = repository.log("m")
    for text in ("Setting timeout to 50 seconds.", "from the file", "pre_script A", "cmd_A", "post_script A"):
        assert text in log
    assert "from the file" in done.output  # --live-output
    assert (repository.artifacts("m") / "run_directory/left").read_text() == "deep\n"
    assert not list(repository.artifacts("m").glob("*_env*"))  # no environment collector
    assert not list(repository.out.glob("perf_entry*"))
    assert json.loads((repository.out / "s.json").read_text())["overall_success"] is True
    repository.assert_nothing_left()


def test_the_environment_collector(repository: Repository) -> None:
    """Contract 10.9: on by default, off with ``--no-sys-env-details``."""
    repository.model("m")
    assert call(repository, "run", "--tags", "m", program="madengine-cli").code == 0
    assert call(repository, "run", "--tags", "m", "--no-sys-env-details").code == 0
    collected = [bool(list(path.glob("m_env.csv"))) for path in sorted(repository.out.glob("results/*/m"))]
    assert collected == [True, False]


def test_a_limit_ends_a_run(repository: Repository) -> None:
    """Defects 22, 48: given a limit / run / the container is gone, the row says so; -1: no limit."""
    repository.model("slow", "echo started; sleep 600", timeout=-1)
    done = call(repository, "run", "--tags", "slow", "--timeout", "1")
    assert done.code == 3, done.output
    assert "Program timed out. Requested timeout=1" in repository.reason("slow")
    assert "started" in repository.log("slow")
    repository.assert_nothing_left()


def test_keep_alive_and_cleanup(repository: Repository) -> None:
    """``--keep-alive`` leaves the container; ``cleanup --dry-run`` says so, ``cleanup`` leaves what was kept
    on purpose, ``cleanup --all`` removes it; foreign containers stay (defect 40)."""
    repository.model("m")
    assert call(repository, "run", "--tags", "m", "--keep-alive").code == 0
    (kept,) = repository.containers()
    foreign = repository.client.containers.run("mad-test/tiny:latest", ["sleep", "600"], detach=True)
    try:
        # Only what this test made: other sessions on this engine keep theirs.
        (run_id,) = repository.run_ids()
        listed = plain(repository, "cleanup", "--all", "--dry-run", "--session", run_id)
        assert f"{kept['Names'][0].lstrip('/')}" in listed.output
        assert "would be removed" in listed.output
        old = plain(repository, "cleanup", "--all", "--older", "7d", "--session", run_id)
        assert "nothing is left" in old.output
        assert plain(repository, "cleanup", "--session", run_id).code == 0
        assert len(repository.containers()) == 1
        assert len(repository.images()) == 1
        done = plain(repository, "cleanup", "--all", "--session", run_id)
        assert done.code == 0, done.output
        assert kept["Names"][0].lstrip("/") in done.output
        assert repository.containers() == repository.images() == []
        foreign.reload()
        assert foreign.status == "running"
    finally:
        foreign.remove(force=True)


def plain(repository: Repository, *args: str) -> Done:
    """A command without the options of a run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest_madengine", *args],
        cwd=repository.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Done(done.returncode, done.stdout)


def test_a_wrong_age_is_a_wrong_argument(repository: Repository) -> None:
    assert plain(repository, "cleanup", "--older", "yesterday").code == 4


def test_an_image_of_the_context(repository: Repository) -> None:
    """Defect 44: given MAD_CONTAINER_IMAGE / ``madengine-cli run`` / that image runs, nothing is built."""
    repository.model("m")
    context = ("-c", "{'MAD_CONTAINER_IMAGE': 'mad-test/tiny:latest'}")
    done = call(repository, "run", "--tags", "m", *context, program="madengine-cli")
    assert done.code == 0, done.output
    assert repository.row("m")["docker_image"] == "mad-test/tiny:latest"
    assert repository.images() == []


# ---- build and run from the manifest -------------------------------------------------------------------


def test_build_push_and_run(repository: Repository, registry: Registry, login: None) -> None:
    """Contract 9 and 19.2: build with a registry, then run what the manifest says on a host without image;
    the password is in no argument list, no output and no file (defect 29)."""
    repository.model("a").model("b")
    manifest, summary = repository.root / "m.json", repository.out / "b.json"
    built = call(
        repository,
        *("build", "-t", "a", "b", "-r", registry.host, *CPU, "-m", str(manifest), "-s", str(summary)),
        *("--live-output", "--sys-env-details", "--disable-skip-gpu-arch", "--ignore-deprecated", "-v"),
        program="madengine-cli",
    )
    assert built.code == 0, built.output
    content = json.loads(manifest.read_text())
    assert content["registry"] == registry.host
    assert all(block["registry_digest"].startswith("sha256:") for block in content["built_images"].values())
    pushed = json.loads(summary.read_text())
    assert len(pushed["successful_builds"]) == len(pushed["successful_pushes"]) == 2
    assert repository.rows() == []
    repository.remove_images()
    before = manifest.read_bytes()
    done = call(repository, "run", "--manifest-file", str(manifest), "--require-pinned")
    assert done.code == 0, done.output
    assert repository.statuses() == {"a": "SUCCESS", "b": "SUCCESS"}
    assert manifest.read_bytes() == before
    texts = [built.output, done.output, manifest.read_text(), summary.read_text()]
    assert not any(PASSWORD in text for text in texts)
    repository.assert_nothing_left()


def test_a_push_that_fails(repository: Repository, registry: Registry) -> None:
    """Defect 46: given a registry that refuses / build / exit 2, the manifest lists the failure."""
    repository.model("m")
    done = call(repository, "build", "--tags", "m", "--registry", registry.host, *CPU, "-m", "m.json")
    assert done.code == 2, done.output
    assert f"No credentials found for registry: {registry.host}" in done.output
    assert json.loads((repository.root / "m.json").read_text())["push_failures"]


def test_a_build_that_fails(repository: Repository) -> None:
    """Defects 6, 10: given one build that fails / build / exit 2, its row, its output on the console."""
    broken = repository.dockerfile("RUN echo it broke here; exit 3", name="broken")
    repository.model("good").model("bad", dockerfile=broken)
    done = call(repository, "build", "--tags", "all_of_it", *CPU, program="madengine-cli")
    assert done.code == 2, done.output
    assert "it broke here" in done.output
    assert repository.statuses() == {"bad": "FAILURE"}
    content = json.loads((repository.root / "build_manifest.json").read_text())
    assert [one["model"] for one in content["built_images"].values()] == ["good"]
    run = call(repository, "run", "-m", "build_manifest.json", program="madengine-cli")
    assert run.code == 2, run.output
    assert repository.statuses() == {"good": "SUCCESS", "bad": "FAILURE"}


def test_images_that_are_given(repository: Repository) -> None:
    """``--use-image NAME`` and ``auto``: nothing is built; a placeholder is an error."""
    repository.model("m", env_vars={"DOCKER_IMAGE_NAME": "mad-test/tiny:latest"})
    repository.model("open", env_vars={"DOCKER_IMAGE_NAME": "<your image>"})
    named = call(repository, "build", "-t", "m", "--use-image", "mad-test/tiny:latest", "-m", "n.json")
    assert named.code == 0, named.output
    auto = call(repository, "build", "-t", "m", "--use-image", "auto", "-m", "a.json")
    assert auto.code == 0, auto.output
    for name in ("n.json", "a.json"):
        content = json.loads((repository.root / name).read_text())
        assert list(content["built_images"]) == ["m"]
    assert call(repository, "build", "-t", "open", "--use-image", "auto").code == 4
    assert repository.images() == []
    assert call(repository, "run", "-m", "a.json").code == 0


def test_a_batch_for_two_architectures(repository: Repository) -> None:
    """``--batch-manifest`` and ``-a``: only what says build_new is built, once per architecture."""
    repository.model("new").model("listed")
    batch = [{"model_name": "new", "build_new": True}, {"model_name": "listed"}]
    (repository.root / "batch.json").write_text(json.dumps(batch))
    done = call(
        repository, "build", "--batch-manifest", "batch.json", "--target-archs", "gfx90a,gfx942", *CPU
    )
    assert done.code == 0, done.output
    images = json.loads((repository.root / "build_manifest.json").read_text())["built_images"]
    built = [name for name, block in images.items() if block["build_status"] == "SUCCESS"]
    assert sorted(name.rpartition("_")[2] for name in built) == ["gfx90a", "gfx942"]
    both = call(repository, "build", "--batch-manifest", "batch.json", "--tags", "new", *CPU)
    assert both.code == 4


# ---- examples/mad --------------------------------------------------------------------------------------


def test_the_demo(docker_client: DockerClient, tmp_path: Path) -> None:
    """``madengine run --tags demo`` on a copy of examples/mad: what the README promises."""
    repository = tmp_path / "mad"
    ignored = shutil.ignore_patterns(
        "perf*", "mad-results", "__pycache__", ".pytest_cache", "build_manifest*"
    )
    shutil.copytree(PROJECT / "examples/mad", repository, ignore=ignored)
    environ = {name: text for name, text in os.environ.items() if not re.match("MAD_|PYTEST_", name)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest_madengine", "run", "--tags", "demo"],
        cwd=repository,
        env={**environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 models: 5 SUCCESS, 1 SKIPPED" in done.stdout
    assert (repository / "perf.html").exists()
