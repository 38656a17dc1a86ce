"""Options and context keys that change what happens in the container."""

from __future__ import annotations

import json
from typing import Any

import pytest
from session_support import Repository, Session, command_lines, wait_until

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]


def with_context(repository: Repository, *args: str, **context: Any) -> Session:
    """A session with an additional context; fails the test unless all is well."""
    session = repository.run("--mad-context", json.dumps(context), *args)
    assert session.code == 0, session.output
    repository.assert_nothing_left()
    return session


def lines(repository: Repository, *wanted: str, item: str = "m") -> list[str]:
    """Lines of the run log that contain one of the texts, in order."""
    return [line for line in repository.log(item).splitlines() if any(text in line for text in wanted)]


def test_keep_alive(repository: Repository) -> None:
    """Section 10.3: the container stays, and the log has the commands with its real name."""
    repository.model("m", "echo performance: 1 x; echo kept > kept_file")
    session = repository.run("--mad-keep-alive")
    assert session.code == 0, session.output
    (entry,) = repository.containers()
    assert entry["State"] == "running"
    container = repository.client.containers.get(entry["Id"])
    for command in ("docker exec -it {} bash", "docker stop {}", "docker rm -f {}"):
        assert command.format(container.name) in repository.log("m")
    assert container.exec_run(["cat", "/myworkspace/run_directory/kept_file"]).output == b"kept\n"
    assert any("keep-alive" in warning for warning in repository.records()["m"]["warnings"])
    # It is kept on purpose: the next session leaves it alone.
    assert repository.run().code == 0
    container.reload()
    assert container.status == "running"


def test_keep_model_dir(repository: Repository) -> None:
    repository.model("m", "mkdir -p deep; echo x > deep/file; echo performance: 1 x")
    assert repository.run("--mad-keep-model-dir").code == 0
    assert (repository.artifacts("m") / "run_directory/deep/file").read_text() == "x\n"
    assert (repository.artifacts("m") / "run_directory/run.sh").exists()
    repository.assert_nothing_left()


def test_skip_model_run(repository: Repository) -> None:
    """Section 10.3: everything but the model script; SKIPPED with a row, exit status 0."""
    repository.model("m", "echo the script runs; exit 3")
    session = with_context(
        repository,
        "--mad-skip-model-run",
        pre_scripts=[{"path": "scripts/common/pre_scripts/pre_test.sh", "args": "1"}],
        post_scripts=[{"path": "scripts/common/post_scripts/post_test.sh", "args": "2"}],
    )
    assert repository.row("m")["status"] == "SKIPPED"
    assert repository.reason("m") == "--skip-model-run"
    log = repository.log("m")
    assert "Pre-Script test called 1" in log
    assert "Post-Script test called 2" in log
    assert "the script runs" not in log
    assert "1 skipped" in session.output


@pytest.mark.parametrize("workers", ["", "-n2"], ids=["alone", "workers"])
def test_live(repository: Repository, workers: str) -> None:
    """Section 10.9: log lines also on the terminal, prefixed by the model; the log is equally complete."""
    repository.model("m", "echo line one; echo line two; echo performance: 1 x")
    session = repository.run("--mad-live", *filter(None, [workers]))
    assert session.code == 0
    shown = [line.removeprefix("[m] ") for line in session.output.splitlines() if line.startswith("[m] ")]
    log = repository.log("m").splitlines()
    assert [line for line in shown if line in log] == log
    assert any("docker build" in line for line in shown)


def test_collect(repository: Repository) -> None:
    """Section 10.1: more files to collect, from the model directory and from the workspace root."""
    repository.model(
        "m", "mkdir a; echo 1 > a/x.bin; echo 2 > ../y.bin; echo 3 > z.txt; echo performance: 1 x"
    )
    assert repository.run("--mad-collect", "**/*.bin", "--mad-collect", "*.bin").code == 0
    found = {path.name: path.read_text() for path in repository.artifacts("m").rglob("*.bin")}
    assert found == {"x.bin": "1\n", "y.bin": "2\n"}
    assert not list(repository.artifacts("m").rglob("z.txt"))


def test_clean_docker_cache(repository: Repository) -> None:
    """Section 8.3: without the cache a step runs again."""
    prefix = repository.dockerfile("RUN cat /proc/sys/kernel/random/uuid > /id", name="id")
    repository.model("m", "read id < /id; echo performance: 1 $id", dockerfile=prefix)
    for args in ((), (), ("--mad-clean-docker-cache",)):
        assert repository.run(*args).code == 0
    first, second, third = [row["metric"] for row in repository.rows()]
    assert first == second != third


def test_scripts_around_the_run(repository: Repository) -> None:
    """Sections 10.3 and 11.1, defect 14: given scripts, an encapsulating script, two tools and three models /
    then each runs once per model, in the order of the contract."""
    repository.model("m", "echo the run: $*; echo performance: 1 x", args="--a 'b c'")
    repository.model("n").model("o")
    own = repository.root / "scripts/around"
    own.mkdir()
    (own / "wrap.sh").write_text('echo wrapped: $1 $2; "$@"\n')
    (own / "mine.sh").write_text("echo my script: $1\n")
    with_context(
        repository,
        pre_scripts=[{"path": "scripts/around/mine.sh", "args": "before"}],
        post_scripts=[{"path": "scripts/around/mine.sh", "args": "after"}],
        encapsulate_script="bash ../scripts/around/wrap.sh",
        tools=[{"name": "test_tools_A"}, {"name": "test_tools_B"}],
    )
    order = [
        "pre_script B",
        "pre_script A",
        "my script: before",
        "cmd_B",
        "cmd_A",
        "wrapped: bash run.sh",
        "the run: --a b c",
        "my script: after",
        "post_script A",
        "post_script B",
    ]
    # What a step prints; the headlines of the steps are not counted.
    printed = [line for line in repository.log("m").splitlines() if line in order]
    assert printed == order
    for item in ("n", "o"):
        printed = [line for line in repository.log(item).splitlines() if line in order]
        assert printed == [line for line in order if not line.startswith("the run")]
        assert len(lines(repository, "environment details", item=item)) == 1


def test_container_settings(repository: Repository) -> None:
    """Context docker_env_vars, docker_mounts, SHM_SIZE and docker_cpus; section 10.4."""
    mounted = repository.directory / "mounted dir"
    mounted.mkdir()
    (mounted / "in").write_text("from the host\n")
    script = """
    echo "env: $TEXT|$NUMBER|$MAD_MODEL_NAME|$MAD_RUNTIME_NGPUS|$MAD_GPU_VENDOR"
    cat "/data/a place/in"; echo back > "/data/a place/out"
    echo "shm: $(df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2)"
    grep Cpus_allowed_list /proc/self/status
    echo performance: 1 x
    """
    repository.model("m", script)
    with_context(
        repository,
        docker_env_vars={"TEXT": "a b", "NUMBER": 7},
        docker_mounts={"/data/a place": str(mounted)},
        SHM_SIZE="32M",
        docker_cpus=" 0,0-0 ",
    )
    log = repository.log("m")
    assert "env: a b|7|m|0|CPU" in log
    assert "from the host" in log
    assert (mounted / "out").read_text() == "back\n"
    assert "shm: 32768" in log
    assert "Cpus_allowed_list:\t0\n" in log
    assert repository.row("m")["additional_docker_run_options"].strip() == "--shm-size=32M"


def test_given_image(repository: Repository) -> None:
    """Context MAD_CONTAINER_IMAGE: no build, one item per model even without a Dockerfile."""
    repository.model("m", dockerfile="docker/none")
    with_context(repository, MAD_CONTAINER_IMAGE="mad-test/tiny:latest")
    row = repository.row("m")
    assert (row["docker_image"], row["docker_file"], row["status"]) == ("mad-test/tiny:latest", "", "SUCCESS")
    assert list(repository.out.glob("results/*/m/*.build.live.log")) == []


def test_a_given_image_that_is_not_there(repository: Repository) -> None:
    repository.model("m")
    session = repository.run("--mad-context", '{"MAD_CONTAINER_IMAGE": "mad-test/absent:1"}')
    assert session.code == 1
    assert "mad-test/absent:1" in repository.reason("m")
    assert repository.row("m")["status"] == "FAILURE"


def test_a_mount_source_that_is_not_there(repository: Repository) -> None:
    """Section 7.2: an absent host path is a FAILURE naming both sides; nothing is created."""
    repository.model("m")
    absent = repository.directory / "absent"
    session = repository.run("--mad-context", json.dumps({"docker_mounts": {"/data": str(absent)}}))
    assert session.code == 1
    assert str(absent) in repository.reason("m")
    assert "/data" in repository.reason("m")
    assert not absent.exists()
    repository.assert_nothing_left()


@pytest.mark.parametrize(
    ("args", "entry", "reason"),
    [
        ([], {"timeout": 2}, "Requested timeout=2 (run phase)"),
        (["--mad-timeout", "2"], {"timeout": 600}, "Requested timeout=2 (run phase)"),
    ],
)
def test_limits(repository: Repository, args: list[str], entry: dict[str, Any], reason: str) -> None:
    """Section 10.8: the limit ends the run with all its processes and keeps the log so far."""
    repository.model("m", "echo before; (sleep 3987 & sleep 3987); echo performance: 1 x", **entry)
    assert repository.run(*args).code == 1
    assert reason in repository.reason("m")
    assert "before" in repository.log("m")
    repository.assert_nothing_left()
    wait_until(lambda: not [line for line in command_lines() if "sleep 3987" in line], "all children gone", 5)


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit(repository: Repository, limit: int) -> None:
    """Defect 22: given timeout -1 (or 0) / when run / then the log says so."""
    repository.model("m", timeout=limit)
    assert repository.run().code == 0
    assert "Setting timeout to 0 seconds." in repository.log("m")


def test_prepare_limit(repository: Repository) -> None:
    """A pre-script that hangs is a FAILURE of the prepare phase; the model does not run."""
    repository.model("m", "echo the script runs")
    (repository.root / "scripts/hang.sh").write_text("sleep 3986\n")
    session = repository.run(
        *("--mad-context", '{"pre_scripts": [{"path": "scripts/hang.sh"}]}', "--mad-timeout-prepare", "2")
    )
    assert session.code == 1
    assert "Requested timeout=2 (prepare phase)" in repository.reason("m")
    assert "the script runs" not in repository.log("m")


def test_plan_runs_nothing(repository: Repository) -> None:
    """``--mad-plan``: every item planned, nothing built, run, written or recorded."""
    repository.model("m", args="--x 1")
    session = repository.run("--mad-plan")
    assert session.code == 0, session.output
    assert "bash run.sh --x 1" in session.output
    assert repository.rows() == []
    assert repository.run_ids() == []
    assert repository.images() == []


#: Makes everything read-only of the workspace read-write, in every way that needs no program of its own.
REMOUNT = """
command -v mount > /dev/null || { echo no mount in the image; exit 9; }
grep ' /myworkspace/[^ ]* ' /proc/mounts | grep ' ro,' | cut -d' ' -f2 > targets
test -s targets || { echo nothing is read-only; exit 9; }
while read -r place; do
  mount -o remount,bind,rw "$place" 2>/dev/null && echo "REMOUNTED $place"
  unshare -Urm mount -o remount,bind,rw "$place" 2>/dev/null && echo "REMOUNTED $place"
done < targets
echo '[]' > /myworkspace/models.json && echo CHANGED
echo performance: 1 x
"""


def test_no_script_changes_the_repository_on_a_host_with_gpus(repository: Repository) -> None:
    """faults 4.5: given a host with GPUs / when a script mounts the repository read-write / then nothing
    is changed; only a model that asks for SYS_ADMIN could do it, and its plan says so."""
    repository.model("m", REMOUNT, n_gpus="1")
    repository.model("asks", REMOUNT, n_gpus="1", additional_docker_run_options="--cap-add=SYS_ADMIN")
    before = (repository.root / "models.json").read_bytes()
    gpus = "--mad-simulate-gpus=1:gfx942"
    session = repository.run(gpus, tags="m")
    assert session.code == 0, session.output
    assert lines(repository, "REMOUNTED", "CHANGED") == []
    assert (repository.root / "models.json").read_bytes() == before
    assert "could change the repository" not in repository.run(gpus, "--mad-plan", tags="m").output
    assert "could change the repository" in repository.run(gpus, "--mad-plan", tags="asks").output
    # The same script with the capability: the attempt above was a real one.
    assert repository.run(gpus, tags="asks").code == 0
    assert any(
        "REMOUNTED /myworkspace/models.json" in line for line in lines(repository, "REMOUNTED", item="asks")
    )
