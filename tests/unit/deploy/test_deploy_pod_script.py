"""What a pod does: ``start.sh`` and the phases in a directory that stands for the volumes of the pod."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest


class Pod:
    """The container of a rendered Job, run by bash with its volumes below a directory."""

    def __init__(self, site: Any, directory: Path, job: str = "madengine-job") -> None:
        self.directory, self.job = directory, job
        config = site.one("ConfigMap")
        (volume,) = [one for one in site.pod(job)["volumes"] if one["name"] == "config"]
        for item in volume["configMap"]["items"]:
            path = directory / "madengine/config" / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.local(config["data"][item["key"]]))
        (directory / "myworkspace").mkdir()
        self.env = {
            name: self.local(value).replace("$$", "$")
            for name, value in site.env(job).items()
            if isinstance(value, str)
        }
        self.env |= {"PATH": os.environ["PATH"], "MAD_K8S_POD_NAME": "pod-1", "HOME": str(directory)}
        self.command = [self.local(word) for word in site.container(job)["command"]]

    def local(self, text: str) -> str:
        for name in ("myworkspace", "madengine/"):
            text = text.replace(f"/{name}", f"{self.directory}/{name}")
        # The root of the container.
        return text.replace("_mad_look=/\n", f"_mad_look={self.directory}\n")

    def start(self, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command,
            env={**self.env, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, **variables: str) -> tuple[int, str]:
        process = self.start(**variables)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    @property
    def results(self) -> Path:
        return self.directory / "madengine/results" / self.job / "pod-1"

    def collected(self) -> set[str]:
        return {p.relative_to(self.results).as_posix() for p in self.results.rglob("*") if p.is_file()}


@pytest.fixture
def pod(site: Any, tmp_path: Path) -> Any:
    """Makes the pod of a model with this script."""

    def make(script: str, context: dict[str, Any] | None = None, **fields: Any) -> Pod:
        site.model("m", n_gpus="0", **fields)
        (site.root / "scripts/m0/run.sh").write_text(script)
        site.k8s({"gen_sys_env_details": False, **(context or {})})
        return Pod(site, tmp_path / "pod")

    return make


def test_a_run_that_reports(pod: Any) -> None:
    """The script has its arguments, its variables, its working directory, and the common scripts."""
    made = pod(
        'echo "args: $*; X=$X; in ${PWD##*/}"; ls ../scripts/common/pre_scripts/trace.sh; '
        "touch results_x.csv ../m_trace.csv; mkdir a_output; echo 1 >a_output/f; echo performance: 5 s",
        {"env_vars": {"X": "$(HOME) 'q'"}},
        args='--a "b c" $((1+1))',
    )
    code, output = made.run()
    assert code == 0, output
    assert "args: --a b c 2; X=$(HOME) 'q'; in run_directory" in output
    assert "pre_scripts/trace.sh" in output
    names = {
        "results_x.csv",
        "m_trace.csv",
        "a_output/f",
        "exit_status",
        "events",
        "m_m0.ubuntu.run.live.log",
    }
    assert names <= made.collected()
    assert (made.results / "exit_status").read_text() == "0\n"
    assert "performance: 5 s" in (made.results / "m_m0.ubuntu.run.live.log").read_text()


def test_exit_status_of_the_model_and_its_files(pod: Any) -> None:
    made = pod("touch results_part; echo performance: 1 s; exit 7")
    assert made.run()[0] == 7
    assert {"results_part", "m_m0.ubuntu.run.live.log"} <= made.collected()


def test_a_run_without_a_result_is_a_failure(pod: Any) -> None:
    """Promise 1: an exit status of 0 alone is no success."""
    made = pod("echo done")
    code, output = made.run()
    assert code == 65
    assert 'the run printed no "performance:" line' in output
    assert made.run(MAD_COLLECT_METRICS="false")[0] == 0
    assert made.run(NODE_RANK="1")[0] == 0


@pytest.mark.parametrize(
    ("script", "code"), [("echo x >../out.csv", 0), ("echo x >out.csv", 0), ("true", 65)]
)
def test_multiple_results(pod: Any, script: str, code: int) -> None:
    made = pod(script, multiple_results="out.csv")
    assert made.run()[0] == code
    assert ("out.csv" in made.collected()) is (code == 0)


def test_a_results_file_of_the_repository_is_no_result(pod: Any, site: Any, tmp_path: Path) -> None:
    made = pod("true", multiple_results="out.csv")
    stale = made.directory / "madengine/config/tree/scripts/m0/out.csv"
    stale.write_text("model,performance,metric\n")
    os.utime(stale, (1, 1))
    assert made.run()[0] == 65


def test_a_failing_step_before_the_run(pod: Any, site: Any) -> None:
    hook = site.root / "scripts/hook.sh"
    hook.write_text("exit 3")
    made = pod("echo never", {"pre_scripts": [{"path": "scripts/hook.sh"}]})
    code, output = made.run()
    assert code == 3
    assert "never" not in output


def test_the_limit_of_a_run(pod: Any) -> None:
    made = pod("touch results_before; echo started; sleep 600", timeout=1)
    code, output = made.run()
    assert code == 124
    assert "Program timed out. Requested timeout=1 (phase run)" in output
    assert "results_before" in made.collected()


def test_a_pod_that_is_deleted_saves_what_there_is(pod: Any) -> None:
    made = pod("touch results_before; echo started; sleep 600")
    process = made.start()
    deadline = time.monotonic() + 30
    while not (made.directory / "myworkspace/run_directory/results_before").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 143, output
    assert "results_before" in made.collected()


def test_hostfile_of_several_nodes(pod: Any) -> None:
    context = {"distributed": {"nnodes": 2, "launcher": "deepspeed", "nproc_per_node": 4}}
    made = pod("cat ../hostfile; echo performance: 1 s", context)
    code, output = made.run(NODE_RANK="0")
    assert code == 0
    assert "madengine-job-0.madengine-job slots=4\nmadengine-job-1.madengine-job slots=4" in output


def test_hostile_patterns_run_nothing(site: Any, tmp_path: Path) -> None:
    """Names of results are text; only file names are expanded."""
    site.model("m", n_gpus="0", multiple_results="$(touch hacked) *.csv")
    (site.root / "scripts/m0/run.sh").write_text("touch 'a b.csv'; echo 1 >'$(touch hacked) *.csv'")
    site.k8s({"gen_sys_env_details": False})
    made = Pod(site, tmp_path / "pod")
    assert made.run()[0] == 0
    assert "$(touch hacked) *.csv" in made.collected()
    assert not list(tmp_path.rglob("hacked"))


PLACE = "/madengine/results/madengine-job/pod-1"


@pytest.mark.parametrize(
    "script",
    [
        "rm -f ../.madengine/events; mkfifo ../.madengine/events",
        "printf '1 99999999 phase handback\\n1 1 phase collect\\n' >>../.madengine/events",
        f": >{PLACE}/events; : >../.madengine/events",
    ],
)
def test_a_run_cannot_lift_its_limit(pod: Any, script: str) -> None:
    """faults 1.20: given a script that tampers with the events, when its time is over, then it ends."""
    made = pod(f"{script}; echo performance: 1 s; sleep 600", timeout=1)
    assert made.run()[0] == 124


def test_a_run_cannot_write_its_exit_status(pod: Any) -> None:
    """faults 1.20: given a script that fails and puts pipes and files of its own into the results and the
    control directory, when it has ended, then its real status is told and nothing waits.
    """
    made = pod(
        f"cd {PLACE}; mkfifo exit_status; rm -f *.log; mkfifo m_m0.ubuntu.run.live.log; cd ../../../..; "
        "cd myworkspace/.madengine; for f in finished run-start nonce ask go ready before; "
        "do rm -f $f; mkfifo $f; done; "
        "for f in init phases; do echo exit 0 >$f.sh; done; echo performance: 1 s; exit 7"
    )
    assert made.run()[0] == 7
    assert (made.results / "exit_status").read_text() == "7\n"
    assert "exit 7" in (made.results / "events").read_text()


def test_only_the_run_itself_reports(pod: Any, site: Any) -> None:
    """faults 1.20: given a number that a pre-script prints, when the run prints none, then it is a failure;
    and the nonce of the marks is in no file of the control directory when the model runs.
    """
    hook = site.root / "scripts/hook.sh"
    hook.write_text("echo performance: 5 s")
    made = pod('echo "nonce [$(<../.madengine/nonce)]"', {"pre_scripts": [{"path": "scripts/hook.sh"}]})
    code, output = made.run()
    assert code == 65
    assert "nonce []" in output


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("cp /myworkspace/../opt/old.csv out.csv", 65),
        ("mv /myworkspace/../opt/old.csv ../out.csv; touch -t 203001010000 ../out.csv", 65),
        ("mv committed.csv out.csv; touch out.csv", 65),
        ("ln -s /myworkspace/../opt/old.csv out.csv", 65),
        ("cp /myworkspace/../opt/old.csv out.csv; echo m,2,x >>out.csv", 0),
    ],
)
def test_a_file_of_before_is_no_result_of_a_pod(pod: Any, site: Any, script: str, code: int) -> None:
    """faults 1.10: given results in the image and in the repository, when the script copies or moves one and
    sets its time, then the pod has no result; when it adds a row, it has.
    """
    made = pod(script, multiple_results="out.csv")
    for place in ("opt/old.csv", "madengine/config/tree/scripts/m0/committed.csv"):
        file = made.directory / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"model,performance,metric\nm,1,{place}\n")
    assert made.run()[0] == code
