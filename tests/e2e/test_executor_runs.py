"""Plans run in real containers: what a run sees, says and leaves."""

from __future__ import annotations

import io
import json
import os
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from executor_plans import Bench, make_plan, secret
from pytest_madengine.errors import EngineError, PlanError, RunError
from pytest_madengine.plan.runplan import DataMount, Image, Mount, Step
from pytest_madengine.results.outcome import judge
from pytest_madengine.results.record import Outcome
from pytest_madengine.results.scanner import LogFindings

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.e2e


@pytest.fixture
def bench(docker_client, tiny_image, tmp_path) -> Bench:
    return Bench(docker_client, tiny_image, tmp_path)


def test_a_run_that_ends_well(bench):
    root = bench.root()
    plan = bench.plan(root, script={"banner": ("Setting timeout to 0 seconds.",)})
    phases: list[str] = []
    result = bench.run(plan, on_phase=phases.append)
    assert (result.exit_code, result.ended_in, result.engine_error) == (0, "done", "")
    assert result.findings == LogFindings(performance=(("5", "sps"),), lines=1)
    assert phases == ["prepare", "run", "collect"]
    assert set(result.durations) == {"prepare", "run", "collect"}
    assert 0 < result.durations["run"] < 10
    log = bench.log(plan)
    assert log.startswith("Setting timeout to 0 seconds.\nUSER: root\n")
    assert "\x01" not in log
    assert "MODEL REPO COMMIT: \n" in log
    assert result.log_file == "m_m.ubuntu.run.live.log"
    assert result.log_tail[-1] == "performance: 5 sps"
    assert (bench.artifacts / "m_m.ubuntu.live.log").read_text() == log


@pytest.mark.parametrize(
    ("args", "argv"),
    [
        ("--a b", ["--a", "b"]),
        ('--t "x y"', ["--t", "x y"]),
        ("--h $HOSTNAME", ["--h", "inner-host"]),
        ("--c $(id -u)", ["--c", "0"]),
        ("--h $(hostname)", ["--h", "inner-host"]),
    ],
)
def test_arguments_are_interpreted_once_in_the_container(bench, args, argv):
    """Section 10.2 vectors.

    Defect 27: given args `$(hostname)` / when run / then expanded in the container, not on the host.
    """
    root = bench.root(run='printf "arg:%s\\n" "$@"\n')
    plan = bench.plan(
        root, run_line=f"bash run.sh {args}", options={"network": "none", "hostname": "inner-host"}
    )
    bench.run(plan)
    assert [line[4:] for line in bench.log(plan).splitlines() if line.startswith("arg:")] == argv


def test_hostile_texts_arrive_as_one_argument(bench, tmp_path):
    """Defect 26: given names, paths, env values and data with quotes and commands / when run / then each
    arrives as one argument and nothing runs on the host."""
    evil = f"'; touch {tmp_path}/pwned; $(id) \" `id`,x:y"
    safe_for_file = evil.replace("/", "_")
    root = bench.root(run='printf "<%s>\\n" "$EVIL" "$1"; ls /data /myworkspace\n')
    (root / safe_for_file).write_text("top level")
    source = tmp_path / f"data {safe_for_file}"
    source.mkdir()
    (source / "inside").touch()
    plan = bench.plan(
        root,
        run_line='bash run.sh "$EVIL"',
        env={"EVIL": evil},
        mounts=(Mount(str(source), "/data"),),
        labels={"pytest-madengine.model": evil},
    )
    result = bench.run(plan)
    assert result.exit_code == 0
    log = bench.log(plan)
    assert log.count(f"<{evil}>") == 2
    assert "inside" in log
    assert safe_for_file in log
    assert not (tmp_path / "pwned").exists()


def test_the_workspace_shows_the_root_read_only(bench):
    root = bench.root(
        run="""
        cd /myworkspace
        touch models.json; echo "models $?"
        touch scripts/m/new; echo "scripts $?"
        touch scripts/common/new; echo "common $?"
        cat .hidden 'with space, comma:colon'
        ls credential.json; echo "credential $?"
        cat scripts/common/pre_scripts/builtin.sh scripts/common/own.sh
        cat link/inside
        cp models.json copied.csv && echo copied
        cd run_directory && cat ../docker/x.Dockerfile && pwd
        """
    )
    (root / ".hidden").write_text("hidden entry\n")
    (root / "with space, comma:colon").write_text("odd entry\n")
    (root / "docker/x.Dockerfile").write_text("FROM x\n")
    (root / "scripts/common").mkdir()
    (root / "scripts/common/own.sh").write_text("echo own\n")
    (root / "outside").symlink_to(bench.directory / "elsewhere")
    (bench.directory / "elsewhere").mkdir()
    (bench.directory / "elsewhere/inside").write_text("outside the root\n")
    (root / "link").symlink_to("outside")
    before = sorted((path, path.lstat().st_mtime_ns) for path in root.rglob("*"))
    plan = bench.plan(root)
    bench.run(plan)
    log = bench.log(plan)
    for line in ("models 1", "scripts 1", "common 1", "credential 1", "copied", "FROM x", "hidden entry"):
        assert line in log
    for line in ("odd entry", "echo builtin pre-script", "echo own", "/myworkspace/run_directory"):
        assert line in log
    assert sorted((path, path.lstat().st_mtime_ns) for path in root.rglob("*")) == before


def test_a_link_to_a_hidden_file_leads_nowhere(bench):
    root = bench.root(run="cat /myworkspace/alias; ls /myworkspace/up\n")
    (root / "alias").symlink_to("credential.json")
    (root / "up").symlink_to("..")
    plan = bench.plan(root)
    bench.run(plan)
    assert "do-not-mount-me" not in bench.log(plan)
    assert "mad" not in [line.strip() for line in bench.log(plan).splitlines()]


def test_common_is_merged_when_the_repository_has_none(bench):
    root = bench.root(run="ls /myworkspace/scripts /myworkspace/scripts/common; cat ../scripts/note\n")
    (root / "scripts/note").write_text("a file in scripts\n")
    (root / "scripts/sym").symlink_to("m")
    plan = bench.plan(root)
    bench.run(plan)
    log = bench.log(plan)
    for word in ("common", "m", "note", "sym", "pre_scripts", "a file in scripts"):
        assert word in log
    assert not (root / "scripts/common").exists()


def test_own_common_files_survive(bench):
    """Defect 59: given a user's scripts/common with own files / when run again / then files unchanged."""
    root = bench.root(run="cat /myworkspace/scripts/common/pre_scripts/builtin.sh\n")
    own = root / "scripts/common/pre_scripts/builtin.sh"
    own.parent.mkdir(parents=True)
    own.write_text("echo mine\n")
    plan = bench.plan(root)
    bench.run(plan)
    assert "echo mine" in bench.log(plan)
    assert own.read_text() == "echo mine\n"
    assert sorted(path.name for path in root.rglob("*.sh")) == ["builtin.sh", "run.sh"]


def test_steps_run_in_order_with_their_arguments(bench):
    root = bench.root(
        pre='echo "PRE $1|$PWD"; touch made-by-pre\n',
        post='echo "POST $1"; ls made-by-pre\n',
        run="ls made-by-pre; echo RUN\n",
    )
    plan = bench.plan(
        root,
        script={
            "pre_steps": (
                Step("one", "scripts/m/pre.sh", '"a b"'),
                Step("builtin", "scripts/common/pre_scripts/builtin.sh"),
            ),
            "post_steps": (Step("two", "scripts/m/post.sh", "$((1 + 2))"),),
        },
    )
    result = bench.run(plan)
    log = bench.log(plan)
    assert result.ended_in == "done"
    places = [
        log.index(t) for t in ("PRE a b|/myworkspace/run_directory", "builtin pre-script", "RUN", "POST 3")
    ]
    assert places == sorted(places)


def test_a_failing_pre_script_stops_the_run(bench):
    root = bench.root(pre="exit 7\n", post="echo POST\n", run="echo RUN\n")
    plan = bench.plan(
        root,
        script={
            "pre_steps": (Step("pre.sh", "scripts/m/pre.sh"),),
            "post_steps": (Step("post.sh", "scripts/m/post.sh"),),
        },
    )
    result = bench.run(plan)
    assert (result.exit_code, result.ended_in) == (None, "prepare")
    assert (result.failed_step, result.failed_step_code) == ("pre-script pre.sh", 7)
    assert "RUN" not in bench.log(plan)
    assert "POST" not in bench.log(plan)


def test_a_collector_that_fails_only_warns(bench):
    root = bench.root(pre="exit 7\n")
    plan = bench.plan(
        root, script={"pre_steps": (Step("environment collector", "scripts/m/pre.sh", may_fail=True),)}
    )
    result = bench.run(plan)
    assert (result.exit_code, result.ended_in) == (0, "done")
    assert any("environment collector failed with status 7" in warning for warning in result.warnings)


def test_post_scripts_run_after_a_failing_script(bench):
    root = bench.root(run="echo 'performance: 1 x'; exit 3\n", post="echo POST; exit 4\n")
    plan = bench.plan(root, script={"post_steps": (Step("post.sh", "scripts/m/post.sh"),)})
    result = bench.run(plan)
    assert result.exit_code == 3
    assert (result.failed_step, result.failed_step_code) == ("post-script post.sh", 4)
    assert result.findings.performance == (("1", "x"),)
    assert "POST" in bench.log(plan)


def test_a_failing_post_script_after_a_good_run(bench):
    root = bench.root(post="exit 4\n")
    plan = bench.plan(root, script={"post_steps": (Step("post.sh", "scripts/m/post.sh"),)})
    result = bench.run(plan)
    assert (result.exit_code, result.ended_in, result.failed_step_code) == (0, "collect", 4)


def test_skip_run_does_everything_else(bench):
    root = bench.root(run="echo RUN\n", pre="echo PRE\n", post="echo POST\n")
    plan = bench.plan(
        root,
        script={
            "skip_run": True,
            "pre_steps": (Step("pre.sh", "scripts/m/pre.sh"),),
            "post_steps": (Step("post.sh", "scripts/m/post.sh"),),
        },
    )
    result = bench.run(plan)
    assert (result.exit_code, result.ended_in) == (None, "done")
    log = bench.log(plan)
    assert "PRE" in log
    assert "POST" in log
    assert "RUN" not in log


def test_only_the_output_of_the_run_phase_is_scanned(bench):
    root = bench.root(
        pre="echo 'performance: 1 pre'\n",
        post="echo 'performance: 3 post'\n",
        run="printf 'performance: 2 run'\n",
    )
    plan = bench.plan(
        root,
        script={
            "pre_steps": (Step("pre.sh", "scripts/m/pre.sh"),),
            "post_steps": (Step("post.sh", "scripts/m/post.sh"),),
        },
    )
    assert bench.run(plan).findings.performance == (("2", "run"),)
    assert "performance: 2 run\n--- post-script" in bench.log(plan)


def test_secrets_reach_the_container_and_nothing_else(bench):
    """Defect 9: given a planted token / when run / then it occurs in no file and no process list."""
    token = "tok-SECRET-0815-value"
    root = bench.root(
        run="""
        [[ $TOKEN == tok-SECRET* ]] && echo "the container has it"
        echo "here: $TOKEN"; printf '%s' "${TOKEN:0:10}"; sleep 0.1; printf '%s\\n' "${TOKEN:10}"
        echo "$TOKEN" > ../results.txt
        """
    )
    plan = bench.plan(root, env={"TOKEN": secret(token)})
    seen: list[str] = []

    def watch(_: str) -> None:
        seen.append(subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout)
        generated = (path for path in bench.workspaces.rglob("*.sh"))
        seen.extend(path.read_text() for path in generated)

    result = bench.run(plan, on_phase=watch)
    log = bench.log(plan)
    assert "the container has it" in log
    assert "here: ***" in log
    assert result.artifacts == ("results.txt",)
    files = [path.read_text() for path in bench.artifacts.rglob("*") if path.is_file()]
    assert not [text for text in [*files, *seen, repr(result), repr(plan)] if token in text]
    assert len(seen) >= 3


def test_results_are_collected_and_owned_by_the_caller(bench):
    """Defect 60: given a failing run / when it ended / then no root-owned file is left."""
    root = bench.root(
        run="""
        echo a > results.csv; echo b > ../perf_x.csv; mkdir -p ../rocprof_output/deep
        echo c > ../rocprof_output/deep/trace.json; echo d > wanted.json
        mkdir ../.m_env; echo e > ../.m_env/t
        ln -s /etc/passwd results_link; ln -s results.csv results_inside; echo f > other
        exit 9
        """
    )
    (root / "results_of_yesterday").write_text("old")
    plan = bench.plan(root, workspace={"collect": ("*.json", "../../*")}, script={"owner": (4242, 4343)})
    result = bench.run(plan)
    assert result.exit_code == 9
    assert set(result.artifacts) == {
        "results.csv", "perf_x.csv", "rocprof_output", ".m_env", "wanted.json", "results_inside",
    }  # fmt: skip
    assert (bench.artifacts / "rocprof_output/deep/trace.json").read_text() == "c\n"
    assert (bench.artifacts / "results_inside").read_text() == "a\n"
    assert any("results_link leads out of the workspace" in warning for warning in result.warnings)
    owners = {(p.stat().st_uid, p.stat().st_gid) for p in (bench.artifacts / "rocprof_output").rglob("*")}
    assert owners == {(4242, 4343)}


def test_files_of_mounts_keep_their_owner(bench, tmp_path):
    """Hand-back never goes into a mount of the user, not even one inside the model directory."""
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "deep/file").write_text("x")
    (data / "deep/file").chmod(0o600)
    root = bench.root(run="cat data/deep/file; touch mine\n")
    plan = bench.plan(
        root,
        mounts=(Mount(str(data), "/myworkspace/run_directory/data", read_only=False),),
        script={"owner": (4242, 4343)},
        workspace={"keep_model_dir": True},
    )
    assert bench.run(plan).exit_code == 0
    state = (data / "deep/file").stat()
    assert (state.st_uid, state.st_mode & 0o777) == (os.getuid(), 0o600)
    assert (bench.artifacts / "run_directory/mine").stat().st_uid == 4242


def test_multiple_results_of_this_run(bench):
    """Section 12.3, place: workspace root first."""
    root = bench.root(run="echo root > ../r.csv; echo model > r.csv\n")
    result = bench.run(bench.plan(root, multiple_results="r.csv"))
    assert result.multiple_results == "root\n"
    assert set(result.artifacts) == {"r.csv", "run_directory/r.csv"}


def test_a_results_file_of_an_earlier_day_is_no_result(bench):
    """Defect 2: given a results file in the MAD root and one beside the script / when a model that writes
    nothing runs / then there is no result (FAILURE)."""
    root = bench.root(run="ls r.csv\n")
    (root / "r.csv").write_text("model,performance,metric\n1,1,x\n")
    (root / "scripts/m/r.csv").write_text("model,performance,metric\n1,1,x\n")
    result = bench.run(bench.plan(root, multiple_results="r.csv", workspace={"hidden": ("r.csv",)}))
    assert result.exit_code == 0
    assert result.multiple_results is None
    assert any("was there before the run" in warning for warning in result.warnings)


def test_a_results_file_of_the_repository_that_is_written_again_counts(bench):
    root = bench.root(run="echo new >> r.csv\n")
    (root / "scripts/m/r.csv").write_text("old\n")
    assert bench.run(bench.plan(root, multiple_results="r.csv")).multiple_results == "old\nnew\n"


def test_runs_do_not_see_each_other(bench):
    """Defects 1 and 11: given two models with the same results file at once / when only one writes / then
    only that one has it; both finish and container names differ."""
    root = bench.root(run="[[ $1 == write ]] && echo 111 > ../r.csv; ls ..\n")
    plans = [
        bench.plan(root, multiple_results="r.csv", run_line=f"bash run.sh {word}; true", log_name=f"m_{word}")
        for word in ("write", "nothing", "nothing2", "nothing3")
    ]
    with bench.executor() as executor, ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda plan: executor.run(plan, bench.artifacts / plan.log_name), plans))
    assert [result.multiple_results for result in results] == ["111\n", None, None, None]
    assert {result.exit_code for result in results} == {0}
    assert not bench.workspaces.exists()


def test_keep_model_dir(bench):
    root = bench.root(run="echo x > results.txt; mkdir d; echo y > d/z\n")
    result = bench.run(bench.plan(root, workspace={"keep_model_dir": True}))
    kept = bench.artifacts / "run_directory"
    assert (kept / "d/z").read_text() == "y\n"
    assert (kept / "run.sh").exists()
    assert result.artifacts == ("results.txt",)
    assert (kept / "results.txt").read_text() == "x\n"


def test_data_of_a_custom_provider(bench):
    root = bench.root(run="cat /data_dlm_0/made\n", fetch='echo "$1 in $PWD" > made\n')
    data = (DataMount("d1", "custom", "/data_dlm_0", script="scripts/m/fetch.sh", args='"some data"'),)
    plan = bench.plan(root, script={"data_steps": data})
    assert bench.run(plan).exit_code == 0
    assert "some data in /data_dlm_0" in bench.log(plan)


def test_failing_data_is_a_failure_of_that_step(bench):
    root = bench.root(fetch="exit 5\n")
    data = (DataMount("d1", "custom", "/data_dlm_0", script="scripts/m/fetch.sh"),)
    result = bench.run(bench.plan(root, script={"data_steps": data}))
    assert (result.ended_in, result.failed_step, result.failed_step_code) == ("prepare", "data d1", 5)


def test_rocm_path_is_probed(bench):
    root = bench.root(run='echo "ROCM $ROCM_PATH"\n')
    plan = bench.plan(root, script={"probe_rocm_path": True})
    bench.run(plan)
    assert "ROCM /opt/rocm" in bench.log(plan)


def test_smi_output_is_shown_once(bench):
    root = bench.root()
    plan = bench.plan(
        root, script={"smi_commands": ("no-such-smi --all", "echo first smi", "echo second smi")}
    )
    bench.run(plan)
    assert "first smi" in bench.log(plan)
    assert "second smi" not in bench.log(plan)


def test_the_build_log_comes_first_in_the_combined_log(bench):
    root = bench.root()
    build = bench.directory / "b.build.live.log"
    build.write_text("built\n")
    plan = bench.plan(root, image=Image(bench.image, build_log=str(build)))
    bench.run(plan)
    combined = (bench.artifacts / "m_m.ubuntu.live.log").read_text()
    assert combined == "built\n" + bench.log(plan)


def test_output_of_other_encodings(bench):
    root = bench.root(run="printf '\\xff\\xfe caf\\xc3\\xa9\\n'\n")
    plan = bench.plan(root)
    bench.run(plan)
    assert "\ufffd\ufffd café\n" in bench.log(plan)


def test_live_output(bench):
    root = bench.root()
    plan = bench.plan(root)
    pieces: list[bytes] = []
    bench.run(plan, on_output=pieces.append)
    assert b"".join(pieces).decode() == bench.log(plan)


def test_an_unknown_image(bench):
    with pytest.raises(EngineError, match="No such image"):
        bench.run(make_plan(bench.root(), "mad-test/none:missing"))
    assert list(bench.workspaces.glob("ws-*")) == []


def test_a_missing_mount_source(bench, tmp_path):
    plan = bench.plan(bench.root(), mounts=(Mount(str(tmp_path / "none"), "/data"),))
    with pytest.raises(PlanError, match="none"):
        bench.run(plan)
    assert bench.containers(plan) == []


def test_an_engine_that_is_not_there(bench):
    from docker.errors import DockerException
    from pytest_madengine.executors.docker.executor import DockerExecutor

    def absent() -> DockerClient:
        raise DockerException("Error while fetching server API version: FileNotFoundError(2)")

    with DockerExecutor(absent, bench.redactor, bench.workspaces, bench.common) as executor:
        with pytest.raises(EngineError, match="does not answer"):
            executor.run(bench.plan(bench.root()), bench.artifacts)
        assert not bench.workspaces.exists()


@pytest.fixture
def image_with(docker_client, tiny_image):
    """Makes an image from the tiny one by running a command in it; removed afterwards."""
    made: list[str] = []

    def make(name: str, command: str, **config: object) -> str:
        container = docker_client.containers.create(tiny_image, ["/bin/busybox", "sh", "-c", command])
        container.start()
        container.wait()
        container.commit(repository="mad-test/executor", tag=name, conf=config or None)
        container.remove()
        made.append(f"mad-test/executor:{name}")
        return made[-1]

    yield make
    for tag in made:
        docker_client.images.remove(tag, force=True)


def test_an_image_without_bash(bench, image_with):
    image = image_with("nobash", "rm /bin/bash")
    plan = make_plan(bench.root(), image)
    with pytest.raises(RunError, match="has no bash"):
        bench.run(plan)
    assert bench.containers(plan) == []


def test_bash_at_another_place(bench, image_with):
    image = image_with("bash-elsewhere", "mkdir -p /opt/x && mv /bin/bash /opt/x/", Env=["PATH=/bin:/opt/x"])
    assert bench.run(make_plan(bench.root(), image)).exit_code == 0


def test_an_image_with_almost_nothing(bench, image_with):
    """Defect 23: given an image without git and most tools / when run / then SUCCESS."""
    tools = "git whoami date id python3 find sleep env chmod chown mkdir hostname sed awk grep cat ls"
    image = image_with("bare", f"for t in {tools}; do rm -f /bin/$t /usr/bin/$t; done")
    plan = make_plan(bench.root(), image)
    result = bench.run(plan)
    assert (result.exit_code, result.ended_in) == (0, "done")
    assert result.findings.performance == (("5", "sps"),)
    assert any("no chown" in warning for warning in result.warnings)
    assert any("no chmod" in warning for warning in result.warnings)
    assert "USER: uid 0" in bench.log(plan)


def test_odd_environment_does_not_reach_our_scripts(bench):
    """BASH_ENV and exported functions act on the model's shells as ever, not on ours."""
    root = bench.root(run="echo from the run\n")
    (root / "env.sh").write_text("echo sourced\n")
    plan = bench.plan(
        root,
        env={"BASH_ENV": "/myworkspace/env.sh", "BASH_FUNC_printf%%": "() { echo hijacked; }", "_mad": "x"},
    )
    result = bench.run(plan)
    assert result.exit_code == 0
    assert "hijacked" not in bench.log(plan)
    assert "from the run" in bench.log(plan)


def test_container_configuration(bench, docker_client):
    """Labels of section 8.2, no log of the engine's own, removal by the engine."""
    root = bench.root(run="until [[ -e ../go ]]; do sleep 0.02; done\n")
    plan = bench.plan(root, options={"shm_size": 64 * 1024 * 1024, "network": "none"})
    seen: list[dict] = []

    def inspect(phase: str) -> None:
        if phase == "run":
            seen.append(docker_client.api.inspect_container(plan.container_name))
            next(bench.workspaces.glob("ws-*/root")).joinpath("go").touch()

    bench.run(plan, on_phase=inspect)
    config = seen[0]
    labels = config["Config"]["Labels"]
    assert labels["pytest-madengine.owner-pid"] == str(os.getpid())
    assert {
        "pytest-madengine.owner-host",
        "pytest-madengine.owner-boot-id",
        "pytest-madengine.owner-start",
    } <= set(labels)
    assert config["HostConfig"]["AutoRemove"] is True
    assert config["HostConfig"]["LogConfig"]["Type"] == "none"
    assert config["HostConfig"]["ShmSize"] == 64 * 1024 * 1024
    assert config["Config"]["WorkingDir"] == "/myworkspace"
    binds = {mount["Destination"]: mount["RW"] for mount in config["Mounts"]}
    assert binds["/myworkspace"] is True
    assert {place for place, writable in binds.items() if writable} == {"/myworkspace"}
    json.dumps(config)


def test_keep_alive(bench, docker_client):
    root = bench.root(run="echo 'performance: 5 x'; echo kept > ../results.txt\n")
    plan = bench.plan(root, script={"keep_alive": True})
    result = bench.run(plan)
    container = docker_client.containers.get(plan.container_name)
    try:
        assert (result.exit_code, result.kept_container) == (0, plan.container_name)
        assert container.status == "running"
        code, output = container.exec_run(["cat", "/myworkspace/results.txt"])
        assert (code, output) == (0, b"kept\n")
        for command in ("docker exec -it", "docker stop", "docker rm -f"):
            assert f"{command} {plan.container_name}" in bench.log(plan)
        assert (bench.artifacts / "results.txt").read_text() == "kept\n"
    finally:
        container.remove(force=True)
        subprocess.run(["rm", "-rf", str(bench.workspaces)], check=True)


def test_a_workspace_with_unremovable_directories(bench):
    root = bench.root(run="mkdir -p a/b; touch a/b/c; chmod 0 a/b a\n")
    assert bench.run(bench.plan(root)).exit_code == 0


def test_cancelled_by_an_event(bench):
    cancel = threading.Event()
    root = bench.root(run="echo started; sleep 60\n")
    plan = bench.plan(root)
    result = bench.run(plan, cancel=cancel, on_phase=lambda name: cancel.set() if name == "run" else None)
    assert result.interrupted
    assert result.exit_code is None
    assert result.engine_error == ""


def test_foreign_containers_keep_running(bench, docker_client, tiny_image):
    """Defects 40 and 50: given a foreign container whose name contains ours / when run / then it runs on."""
    root = bench.root()
    plan = bench.plan(root)
    foreign = docker_client.containers.run(
        tiny_image, ["sleep", "300"], name=f"{plan.container_name}_foreign", detach=True
    )
    try:
        assert bench.run(plan).exit_code == 0
        foreign.reload()
        assert foreign.status == "running"
    finally:
        foreign.remove(force=True)


def test_paths_with_a_line_feed(bench):
    root = bench.root(run="cat $'/myworkspace/a\\nb'\n")
    (root / "a\nb").write_text("odd name\n")
    plan = bench.plan(root)
    result = bench.run(plan)
    assert result.exit_code == 0
    assert "odd name" in bench.log(plan)


#: What a run that went well reports.
CLAIM = r"printf '1 1 exit 0\n1 1 phase collect\n1 1 finished\n1 1 end 0\n'"
#: Scripts that want to write their own verdict; each of them fails.
HOSTILE = {
    "a pipe for events": "rm -f ../.madengine/events; mkfifo ../.madengine/events; exit 7",
    "its own events": f"{CLAIM} >> ../.madengine/events; exit 7",
    "events again and again": (
        f"(trap '' HUP TERM; while :; do {CLAIM} > ../.madengine/events; done) >/dev/null & exit 7"
    ),
    "other scripts": "for f in init phases; do echo 'exit 0' > ../.madengine/$f.sh; done; exit 7",
    "no control directory": "mv ../.madengine ../gone; exit 7",
    "pipes everywhere": (
        "cd ../.madengine; for f in events finished run-start nonce ask go; do rm -f $f; mkfifo $f; done; "
        "exit 7"
    ),
    "the end of our script": f"{CLAIM} >> ../.madengine/events; kill -9 -1; sleep 60",
    "markers": (
        "n=$(grep -aoh '[0-9a-f]\\{24\\}' ../.madengine/* 2>/dev/null | head -1); "
        'printf \'\\001mad:%s:collect\\n\\001mad:%s:kept\\n\' "$n" "$n"; exit 7'
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_script_cannot_write_its_own_verdict(bench, name):
    """faults 1.20: given a script that fails and tampers with the control directory / when it has run / then
    it is a FAILURE, the host does not wait, and nothing is left."""
    root = bench.root(run=f"echo 'performance: 5 sps'\n{HOSTILE[name]}\n")
    result = bench.run(bench.plan(root))
    assert judge(result).outcome is Outcome.FAILURE
    assert result.exit_code in (7, 137, None)
    assert result.kept_container == ""


def test_a_results_file_of_the_repository_is_no_result(bench):
    """faults 1.10: given a committed results file with a line feed in its name / when the script copies it
    and sets its time / then there is no result; when it writes another one, there is."""
    root = bench.root()
    (root / "scripts/m/old\n.csv").write_text("model,performance,metric\n1,1,x\n")
    copy = "cp -- ../scripts/m/old* r.csv; touch -t 203001010000 r.csv"
    for script, expected in ((copy, None), (f"{copy}; printf 'm,1\\n' > r.csv", "m,1\n")):
        (root / "scripts/m/run.sh").write_text(f"{script}\n")
        assert bench.run(bench.plan(root, multiple_results="r.csv")).multiple_results == expected


def test_a_file_of_the_image_or_of_the_data_is_no_result(bench, docker_client, tmp_path):
    """faults 1.10: given old results in the image, in a volume of it and on a data mount / when the script
    copies or moves one and sets its time / then there is no result."""
    old = "model,performance,metric\nm,1,%s\n"
    recipe = (
        f"FROM {bench.image}\nRUN mkdir /v && echo image >/opt.csv && echo volume >/v/r.csv.old\nVOLUME /v\n"
    )
    image, _ = docker_client.images.build(fileobj=io.BytesIO(recipe.encode()), rm=True)
    data = tmp_path / "data"
    data.mkdir()
    (data / "baseline.txt").write_text(old % "data")
    (data / "r.csv").write_text(old % "moved")
    mounts = (Mount(str(data), "/data", read_only=False),)
    root = bench.root()
    scripts = {
        "cp /opt.csv r.csv": None,
        "cp /v/r.csv.old r.csv": None,
        "cp /data/baseline.txt r.csv": None,
        "mv /data/r.csv r.csv": None,
        "echo mine >/data/new.csv; cp /data/new.csv r.csv": "mine\n",
    }
    try:
        for script, expected in scripts.items():
            (root / "scripts/m/run.sh").write_text(f"{script}; touch -t 203001010000 r.csv\n")
            plan = bench.plan(root, multiple_results="r.csv", mounts=mounts, image=image.id)
            assert (script, bench.run(plan).multiple_results) == (script, expected)
    finally:
        docker_client.images.remove(image.id, force=True)
