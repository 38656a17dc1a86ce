"""The plan as a whole: run line, steps, workspace, mounts, names (contract 8.2, 10.1, 10.3)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plan_samples import ROOT, context, facts, model, request, settings
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.builder import PlanRequest, build_plan
from pytest_madengine.plan.runplan import Image, Lease, Mount, RunPlan
from pytest_madengine.secrets import Secret

_TOOLS = {"tools": [{"name": "test_tools_A"}, {"name": "test_tools_B"}]}


def _plan(*args: Any, **changes: Any) -> RunPlan:
    return build_plan(request(*args, **changes))


def _steps(plan: RunPlan) -> list[tuple[str, str]]:
    return [(step.script, step.args) for step in plan.script.pre_steps]


def test_the_same_request_gives_the_same_plan() -> None:
    first = request(model(args="--x"), _TOOLS)
    assert build_plan(first) == build_plan(first)


@pytest.mark.parametrize(
    ("scripts", "directory", "line"),
    [
        ("scripts/d/run.sh", "scripts/d", "bash run.sh --a b"),
        ("scripts/d/run.py", "scripts/d", "python3 run.py --a b"),
        ("scripts/d/job.slurm", "scripts/d", "bash job.slurm --a b"),
        ("scripts/d/job.sbatch", "scripts/d", "bash job.sbatch --a b"),
        ("scripts/d/other", "scripts/d", "bash other --a b"),
        ("scripts/directory", "scripts/directory", "bash run.sh --a b"),
        ("scripts/directory/", "scripts/directory", "bash run.sh --a b"),
        ("scripts/d/x y'.sh", "scripts/d", "bash 'x y'\"'\"'.sh' --a b"),
        ("scripts/d/-x.sh", "scripts/d", "bash ./-x.sh --a b"),
    ],
)
def test_contract_3_scripts(scripts: str, directory: str, line: str) -> None:
    """Contract section 3, field `scripts`; defect 26: the name is one word of the run line."""
    known = f"{ROOT}/scripts/directory/."
    plan = _plan(model(scripts=scripts, args="--a b"), path_exists=lambda path: path == known)
    assert (plan.script.script_dir, plan.script.run_line) == (directory, line)


@pytest.mark.parametrize("scripts", ["run.sh", "", "../x/run.sh", "/x/run.sh", "x/../run.sh"])
def test_scripts_that_have_no_directory_of_their_own(scripts: str) -> None:
    with pytest.raises(PlanError, match=r"models\.json: model 'dummy': scripts"):
        _plan(model(scripts=scripts))


def test_contract_10_3_tools_and_hooks() -> None:
    """Contract 10.3: order of pre- and post-scripts, and the run line."""
    values = {
        **_TOOLS,
        "pre_scripts": [{"path": "scripts/common/pre_scripts/pre_test.sh", "args": "1"}],
        "post_scripts": [{"path": "./scripts/common/post_scripts/post_test.sh"}],
        "encapsulate_script": "time ",
    }
    plan = _plan(None, values)
    echo = "scripts/common/test_echo.sh"
    assert _steps(plan) == [
        (echo, "pre_script B"),
        (echo, "pre_script A"),
        ("scripts/common/pre_scripts/pre_test.sh", "1"),
        ("scripts/common/pre_scripts/run_rocenv_tool.sh", "dummy_env lite UBUNTU"),
    ]
    assert [step.may_fail for step in plan.script.pre_steps] == [False, False, False, True]
    assert [(step.script, step.args) for step in plan.script.post_steps] == [
        ("scripts/common/post_scripts/post_test.sh", ""),
        (echo, "post_script A"),
        (echo, "post_script B"),
    ]
    assert plan.script.run_line == "echo cmd_B && echo cmd_A && time bash run.sh"


def test_defect_14_steps_do_not_accumulate() -> None:
    """Defect 14: given hooks, a tool and three models / when planned / then each script is there once."""
    chosen = context({**_TOOLS, "pre_scripts": [{"path": "scripts/p.sh"}]})
    plans = [_plan(model(f"m{number}"), context=chosen) for number in range(3)]
    assert [len(_steps(plan)) for plan in plans] == [4, 4, 4]
    assert sum("run_rocenv_tool" in script for script, _ in _steps(plans[2])) == 1


@pytest.mark.parametrize("path", ["/etc/x.sh", "../x.sh", "scripts/../../x.sh", "."])
def test_hooks_outside_of_the_root(path: str) -> None:
    with pytest.raises(ConfigError, match="outside of the MAD root"):
        _plan(None, {"pre_scripts": [{"path": path}]})


def test_hooks_named_by_their_path_in_the_container() -> None:
    plan = _plan(None, {"post_scripts": [{"path": "/myworkspace/scripts/p.sh"}]})
    assert plan.script.post_steps[0].script == "scripts/p.sh"


@pytest.mark.parametrize(
    ("values", "changes", "expected"),
    [
        ({}, {}, "dummy_env lite UBUNTU"),
        ({"rocenv_mode": "full", "guest_os": "CENTOS"}, {}, "dummy_env full CENTOS"),
        ({}, {"sys_env_details": False}, None),
        ({"gen_sys_env_details": False}, {}, None),
        ({"generate_sys_env_details": "off"}, {}, None),
        ({"gen_sys_env_details": True}, {"sys_env_details": False}, "dummy_env lite UBUNTU"),
    ],
)
def test_contract_11_3_environment_collector(values: Any, changes: Any, expected: str | None) -> None:
    """Contract 11.3 and 7.2."""
    plan = _plan(None, values, settings=settings(**changes))
    found = [args for script, args in _steps(plan) if script.endswith("run_rocenv_tool.sh")]
    assert found == ([] if expected is None else [expected])


def test_contract_7_2_model_args() -> None:
    """Contract 7.2: model_args replaces args on the run line only; parameters are always appended."""
    plan = _plan(model(args="--a 1"), {"model_args": "--b 2"}, parameters={"bs": "4"})
    assert plan.script.run_line == "bash run.sh --b 2 --bs 4"
    assert plan.args == "--a 1 --bs 4"


def test_defect_27_args_are_for_the_container() -> None:
    """Defect 27: given args `$(hostname)` / when planned / then the run line has them as they are."""
    args = '--h $HOSTNAME --c $(id -u) --t "x y" \'; touch x'
    assert _plan(model(args=args)).script.run_line == f"bash run.sh {args}"


def test_contract_10_8_banner_and_limit() -> None:
    """Contract 10.8; defect 22: -1 is no limit and the log says 0 seconds."""
    assert _plan(model(timeout=360)).script.banner == ("Setting timeout to 360 seconds.",)
    plan = _plan(model(timeout=-1))
    assert plan.script.banner == ("Setting timeout to 0 seconds.",)
    assert plan.timeouts.run is None


def test_contract_10_9_flags() -> None:
    """Contract 10.9; defect 44: flags reach the plan."""
    plan = _plan(settings=settings(skip_model_run=True, keep_alive=True, keep_model_dir=True))
    assert (plan.script.skip_run, plan.script.keep_alive, plan.workspace.keep_model_dir) == (True, True, True)
    assert plan.script.owner == (1000, 1000)


def test_contract_10_3_smi_commands() -> None:
    """Contract 10.3, step 1; nothing is asked of simulated GPUs."""
    assert _plan().script.smi_commands == ("amd-smi", "rocm-smi")
    assert _plan(context=context(host=facts("NVIDIA"))).script.smi_commands == ("nvidia-smi",)
    assert _plan(lease=Lease((0,), simulated=True)).script.smi_commands == ()
    assert _plan(settings=settings(cpu=True), lease=Lease()).script.smi_commands == ()


# ---- workspace ----------------------------------------------------------------------------------------


def test_contract_10_1_hidden_entries() -> None:
    """Contract 10.1: what is not mounted from the MAD root."""
    values = {"tools": [{"name": "rocprof"}, {"name": "rccl_trace"}]}
    names = (
        "a",
        "credential.json",
        "perf_x.csv",
        "d_m_env.csv",
        ".d_m_env",
        "run_directory",
        "rocprof_output",
        "library_trace.csv",
        "perf.csv",
        "perf_super.json",
        "mad-results",
        "perf_other.csv",
        ".git",
    )
    workspace = _plan(model("d/m", multiple_results="perf_x.csv"), values, root_entries=names).workspace
    assert workspace.entries == (".git", "a", "perf_other.csv")
    assert set(names) - set(workspace.entries) <= set(workspace.hidden)


def test_contract_10_1_library_trace_of_an_earlier_run_is_visible() -> None:
    """Contract 11.4: a later model reads library_trace.csv from the MAD root."""
    assert "library_trace.csv" in _plan(root_entries=("library_trace.csv",)).workspace.entries


def test_contract_10_1_clone_directory() -> None:
    """Contract 10.1: an entry with the name of the model directory; defect 60: no .git in it."""
    plan = _plan(model(url="https://h/o/docker.git"))
    assert plan.script.model_dir == "/myworkspace/docker"
    assert "docker" in plan.workspace.hidden
    assert plan.workspace.model_dir_name == "docker"


def test_outputs_elsewhere_hide_nothing() -> None:
    changed = settings(output=Path("/o/scripts"), results_dir=ROOT / "out" / "docker")
    hidden = _plan(settings=changed).workspace.hidden
    assert not {"scripts", "docker", "out"} & set(hidden)


def test_results_below_scripts_do_not_hide_the_programs() -> None:
    assert "scripts" not in _plan(model(multiple_results="scripts/x.csv")).workspace.hidden
    assert "out" in _plan(model(multiple_results="./out/x.csv")).workspace.hidden


def test_contract_10_1_collected() -> None:
    """Contract 10.1: globs of the collected files, --mad-collect included."""
    plan = _plan(model("d/m", multiple_results="r[1].csv"), settings=settings(collect=("*.log",)))
    assert plan.workspace.collect == (
        "r[[]1].csv",
        ".d_m_env",
        "*_env.csv",
        "*_output",
        "*_output.csv",
        "library_trace.csv",
        "*_trace.csv",
        "perf_*.csv",
        "results*",
        "*.log",
    )


def test_secret_files_inside_the_root_are_concealed() -> None:
    """Design promise 4: a run sees neither the credential file nor a key, wherever they lie."""
    plan = _plan(
        settings=settings(credentials=ROOT / "conf" / "creds.json"),
        credentials={
            "A": {"ssh_key_file": Secret("keys/id")},
            "B": {"ssh_key_file": "id_top"},
            "C": {"ssh_key_file": "/k"},
        },
        path_exists=lambda path: not path.endswith("/."),
    )
    assert [(mount.source, mount.target) for mount in plan.mounts] == [
        ("/dev/null", "/myworkspace/conf/creds.json"),
        ("/dev/null", "/myworkspace/keys/id"),
    ]
    assert "id_top" in plan.workspace.hidden


# ---- mounts -------------------------------------------------------------------------------------------


def test_contract_7_2_docker_mounts() -> None:
    """Contract 7.2: container path -> host path, read-write."""
    plan = _plan(None, {"docker_mounts": {"/in/a": "/host/a", "/in/b": "rel/b"}})
    assert plan.mounts == (
        Mount("/host/a", "/in/a", False, "string"),
        Mount(f"{ROOT}/rel/b", "/in/b", False, "string"),
    )


def test_contract_7_2_absent_host_path_names_both_sides() -> None:
    """Contract 7.2: an absent host path is a FAILURE naming both sides."""
    with pytest.raises(PlanError, match=r"'/in/a' -> '/host/a': the host path /host/a does not exist"):
        _plan(None, {"docker_mounts": {"/in/a": "/host/a"}}, path_exists=lambda _: False)


@pytest.mark.parametrize(
    ("mounts", "text"),
    [
        ({"in": "/a"}, "not absolute"),
        ({"/in": ""}, "host path is empty"),
        ({"/myworkspace/": "/a"}, "nothing can be mounted at /myworkspace"),
        ({"/": "/a"}, "nothing can be mounted at /"),
        ({"/x": "/a", "/x/": "/b"}, "both '/a' and '/b' are mounted at /x"),
    ],
)
def test_mounts_that_cannot_be(mounts: dict[str, str], text: str) -> None:
    with pytest.raises(PlanError, match=text):
        _plan(None, {"docker_mounts": mounts})


def test_mounts_of_the_entry() -> None:
    entry = model(additional_docker_run_options="-v ./cache:/c -v /a:/in -v vol:/v")
    plan = _plan(entry, {"docker_mounts": {"/in": "/a"}})
    assert [(mount.source, mount.target) for mount in plan.mounts] == [
        ("/a", "/in"),
        (f"{ROOT}/cache", "/c"),
        ("vol", "/v"),
    ]


def test_a_mount_takes_the_place_of_an_entry_of_the_root() -> None:
    plan = _plan(model(additional_docker_run_options="-v /d:/myworkspace/docker"))
    assert "docker" in plan.workspace.hidden
    assert "docker" not in plan.workspace.entries


def test_unknown_docker_flag_is_an_error_of_the_item() -> None:
    with pytest.raises(PlanError, match="--shmsize"):
        _plan(model(additional_docker_run_options="--shmsize 1g"))


# ---- names and the rest -------------------------------------------------------------------------------


def test_contract_8_2_names() -> None:
    """Contract 8.2: container and log names."""
    plan = _plan()
    assert plan.container_name == "container_ci-dummy_dummy.ubuntu.amd_9a0b1c2d"
    assert plan.log_name == "dummy_dummy.ubuntu.amd"
    upper = _plan(model("Upper/Case"), base="b", image=Image("r.io:5000/ci-upper_case_b@sha256:1"))
    assert upper.log_name == "Upper_Case_b"
    assert upper.container_name == "container_r.io_5000_ci-upper_case_b-sha256_1_9a0b1c2d"


def test_contract_8_2_parameters_in_log_names() -> None:
    """Contract 8.2: parameters after the base, other characters as `_`; a long name is cut."""
    assert _plan(parameters={"bs": "1/2", "x": None}).log_name == "dummy_dummy.ubuntu.amd_bs_1_2_x"
    first, second = (_plan(parameters={"p": "v" * 300 + end}).log_name for end in "ab")
    assert first != second
    assert len(first) == 200
    assert len(_plan(image=Image("i" * 300)).container_name) == 200


def test_contract_12_2_log_scan() -> None:
    """Contract 7.2, 12.2: context replaces the first two, benign lists add up."""
    entry = model(log_error_pattern_scan=False, log_error_patterns=("a",), log_error_benign_patterns=("b",))
    plan = _plan(entry)
    assert (plan.log_error_pattern_scan, plan.log_error_patterns) == (False, ("a",))
    values = {"log_error_pattern_scan": True, "log_error_patterns": ["c"], "log_error_benign_patterns": ["d"]}
    plan = _plan(entry, values)
    assert (plan.log_error_pattern_scan, plan.log_error_patterns) == (True, ("c",))
    assert plan.log_error_benign_patterns == ("b", "d")
    assert (_plan().log_error_pattern_scan, _plan().log_error_patterns) == (True, None)


def test_launcher_reaches_the_plan() -> None:
    plan = _plan(model(distributed={"launcher": "deepspeed"}), lease=Lease((0, 1)))
    assert plan.launcher == "deepspeed"
    assert plan.env["MAD_MULTI_NODE_RUNNER"].value == "deepspeed --num_gpus=2"


@pytest.mark.parametrize(("nodes", "tool"), [("2", "rocprofv3"), ("x", "rocprof"), ("1", "rocprof")])
def test_contract_11_2_nodes_of_a_job(nodes: str, tool: str) -> None:
    """Contract 11.2: inside a job of several nodes rocprof becomes rocprofv3."""
    environ = {"MAD_DEPLOYMENT_TYPE": "slurm", "NNODES": nodes}
    plan = _plan(None, {"tools": [{"name": "rocprof"}]}, environ=environ)
    assert plan.script.run_line.startswith("rocprofv3") is (tool == "rocprofv3")
    assert any("rocprofv3" in note for note in plan.notes) is (tool == "rocprofv3")


def test_clone_with_known_hosts_of_the_option() -> None:
    entry = model(url="git@h:o/r.git", cred="C")
    credentials = {"C": {"username": "u", "ssh_key_file": "~/.ssh/id"}}
    plan = _plan(entry, credentials=credentials, settings=settings(known_hosts=Path("/k")))
    assert plan.script.clone is not None
    assert (plan.script.clone.known_hosts, plan.script.clone.ssh_key_file) == ("/k", "/home/user/.ssh/id")


def test_requests_do_not_show_credentials() -> None:
    made: PlanRequest = replace(
        request(), credentials={"A": {"password": "hunter2"}}, environ={"X": "hunter2"}
    )
    assert "hunter2" not in repr(made)
