"""The container's environment, contract 10.7."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from plan_samples import context, facts, model, request, settings, tools_config
from pytest_madengine.errors import ConfigError, CredentialError, PlanError
from pytest_madengine.plan.builder import build_plan
from pytest_madengine.plan.env import JOB_VARIABLES
from pytest_madengine.plan.runplan import DataMount, EnvValue, Image, Lease
from pytest_madengine.secrets import Secret, reveal


def _env(*args: Any, **changes: Any) -> dict[str, EnvValue]:
    return dict(build_plan(request(*args, **changes)).env)


def _pairs(env: dict[str, EnvValue], *names: str) -> list[tuple[str, str]]:
    return [(reveal(env[name].value), env[name].origin) for name in names]


def test_contract_10_7_plain_run() -> None:
    """Contract 10.7: every variable of a plain run, in the order of the rows."""
    env = _env()
    assert {name: entry.value for name, entry in env.items()} == {
        "MAD_MODEL_NAME": "dummy",
        "JENKINS_BUILD_NUMBER": "0",
        "MAD_GPU_VENDOR": "AMD",
        "MAD_SYSTEM_NGPUS": "8",
        "MAD_SYSTEM_GPU_ARCHITECTURE": "gfx942",
        "MAD_SYSTEM_GPU_PRODUCT_NAME": "Example",
        "MAD_SYSTEM_HIP_VERSION": "6.4",
        "MAD_GUEST_OS": "UBUNTU",
        "MAD_RUNTIME_NGPUS": "1",
        "MAD_MULTI_NODE_RUNNER": "torchrun --standalone --nproc_per_node=1",
    }
    assert [entry.origin for entry in env.values()] == [
        "model",
        "plan",
        *["detected:amd"] * 5,
        "plan",
        "lease",
        "plan",
    ]


@pytest.mark.parametrize(
    ("entry", "values", "expected"),
    [
        ({"A": "m"}, {}, ("m", "model")),
        ({"A": "m"}, {"env_vars": {"A": "c"}}, ("c", "string")),
        ({"A": "m"}, {"env_vars": {"A": "c"}, "docker_env_vars": {"A": "d"}}, ("d", "string")),
        ({}, {"docker_env_vars": {"A": 4}}, ("4", "string")),
        ({}, {"docker_env_vars": {"A": True}}, ("true", "string")),
    ],
)
def test_contract_10_7_rows_1_and_10(entry: Any, values: Any, expected: tuple[str, str]) -> None:
    """Contract 10.7: model env_vars < context env_vars < docker_env_vars."""
    assert _pairs(_env(model(env_vars=entry), values), "A") == [expected]


def test_contract_10_7_row_2_tools() -> None:
    """Contract 10.7, row 2; 11.1: the docker section of tools.json is weakest of all."""
    tools = tools_config('{"docker": {"environment": {"RCCL_DEBUG": "x", "LOW": "1", "MID": "1"}}}')
    values = {"tools": [{"name": "rocprofv3", "env_vars": {"T": "2"}}]}
    env = _env(model(env_vars={"RCCL_DEBUG": "m", "MID": "m"}), values, tools=tools)
    assert _pairs(env, "RCCL_DEBUG", "T", "LOW", "MID") == [
        ("INFO", "tools"),
        ("2", "string"),
        ("1", "tools"),
        ("m", "model"),
    ]


def test_tools_section_that_came_through_the_context_stays_weakest() -> None:
    values = {"docker_env_vars": {"LOW": "1", "MID": "1"}}
    origins = {"docker_env_vars.LOW": "tools", "docker_env_vars.MID": "tools"}
    env = _env(model(env_vars={"MID": "m"}), context=context(values, origins=origins))
    assert _pairs(env, "LOW", "MID") == [("1", "tools"), ("m", "model")]


def test_contract_10_7_row_3_credentials() -> None:
    """Contract 10.7, row 3; 14.1: every text field; 14.2: which of them are secret."""
    credential = {"username": Secret("me"), "password": "pw-1", "extra": "x-1", "port": "22", "list": [1]}
    env = _env(model(cred="AMD_GITHUB"), credentials={"AMD_GITHUB": credential})
    names = [name for name in env if name.startswith("AMD_GITHUB")]
    assert names == ["AMD_GITHUB_USERNAME", "AMD_GITHUB_PASSWORD", "AMD_GITHUB_EXTRA", "AMD_GITHUB_PORT"]
    assert [env[name].value for name in names] == ["me", Secret("pw-1"), Secret("x-1"), "22"]
    assert {env[name].origin for name in names} == {"credential:AMD_GITHUB"}


def test_missing_credential_without_url() -> None:
    with pytest.raises(CredentialError, match=r"Credentials\(C\) to run model not found"):
        _env(model(cred="C"))


def test_contract_10_7_row_4_data() -> None:
    """Contract 10.7, row 4: raw data text; homes of those that deliver."""
    data = (
        DataMount("d1", "local", "/data_dlm_0", "/d"),
        DataMount("d2", "custom", "/data/two", "", script="s.sh"),
    )
    plan = build_plan(request(model(data="d1, d2"), data=data))
    assert _pairs(dict(plan.env), "MAD_DATANAME", "MAD_DATAHOME") == [
        ("d1, d2", "model"),
        ("/data_dlm_0,/data/two", "plan"),
    ]
    assert [mount.name for mount in plan.script.data_steps] == ["d2"]
    assert [(mount.source, mount.target, mount.read_only) for mount in plan.mounts] == [
        ("/d", "/data_dlm_0", True)
    ]
    env = _env(model(data="huggingface"))
    assert "MAD_DATANAME" in env
    assert "MAD_DATAHOME" not in env


def test_contract_10_7_row_5_identity() -> None:
    """Contract 10.7, row 5: full name with a slash, host BUILD_NUMBER, declared results only."""
    env = _env(model("a/b", multiple_results="perf_x.csv"), environ={"BUILD_NUMBER": "17"})
    assert _pairs(env, "MAD_MODEL_NAME", "JENKINS_BUILD_NUMBER", "MAD_OUTPUT_CSV") == [
        ("a/b", "model"),
        ("17", "env:BUILD_NUMBER"),
        ("perf_x.csv", "model"),
    ]


@pytest.mark.parametrize(
    ("values", "image", "expected"),
    [
        ({"guest_os": "CENTOS"}, {"guest_os": "ubuntu"}, ("CENTOS", "string")),
        ({}, {"guest_os": "rocky"}, ("ROCKY", "image")),
        ({}, {}, ("UBUNTU", "plan")),
    ],
)
def test_contract_10_7_guest_os(values: Any, image: Any, expected: tuple[str, str]) -> None:
    """Contract 10.7, row 6."""
    assert _pairs(_env(None, values, image=Image("i", context=image)), "MAD_GUEST_OS") == [expected]


def test_contract_10_7_users_win_over_detection() -> None:
    """Contract 10.7: a user value is never overwritten by a detected one."""
    env = _env(
        model(env_vars={"MAD_SYSTEM_HIP_VERSION": "m", "ROCM_PATH": "/m"}),
        {"env_vars": {"MAD_SYSTEM_NGPUS": "4"}, "docker_env_vars": {"MAD_GPU_VENDOR": "X"}},
        image=Image("i", env={"ROCM_PATH": "/image"}),
    )
    assert _pairs(env, "MAD_SYSTEM_HIP_VERSION", "MAD_SYSTEM_NGPUS", "MAD_GPU_VENDOR", "ROCM_PATH") == [
        ("m", "model"),
        ("4", "string"),
        ("X", "string"),
        ("/m", "model"),
    ]


def test_contract_7_5_mad_cpu() -> None:
    """Contract 7.5: both counts are 0 unless docker_env_vars says otherwise."""
    names = ("MAD_SYSTEM_NGPUS", "MAD_RUNTIME_NGPUS")
    cpu = settings(cpu=True)
    assert _pairs(_env(settings=cpu, lease=Lease()), *names) == [("0", "plan"), ("0", "lease")]
    given = {"docker_env_vars": {"MAD_SYSTEM_NGPUS": "2", "MAD_RUNTIME_NGPUS": "1"}}
    assert _pairs(_env(None, given, settings=cpu, lease=Lease()), *names) == [
        ("2", "string"),
        ("1", "string"),
    ]


def test_contract_10_7_row_7_runtime() -> None:
    """Contract 10.7, row 7; defect 54: the GPUs of the item, also over what a model says."""
    env = _env(model(env_vars={"MAD_RUNTIME_NGPUS": "99"}), lease=Lease((2, 5)))
    assert _pairs(env, "MAD_RUNTIME_NGPUS") == [("2", "lease")]
    assert reveal(env["MAD_MULTI_NODE_RUNNER"].value).endswith("--nproc_per_node=2")


@pytest.mark.parametrize(
    ("given", "image", "expected", "probe"),
    [
        ({"MAD_ROCM_PATH": "/a", "ROCM_PATH": "/b"}, {"ROCM_PATH": "/c"}, "/a", False),
        ({"ROCM_PATH": "/b"}, {"ROCM_PATH": "/c"}, "/b", False),
        ({}, {"ROCM_PATH": "/c", "ROCM_HOME": "/d"}, "/c", False),
        ({}, {"ROCM_HOME": "/d"}, "/d", False),
        ({}, {}, None, True),
    ],
)
def test_contract_7_4_rocm_path(given: Any, image: Any, expected: str | None, probe: bool) -> None:
    """Contract 7.4: ROCm root of the container."""
    values = {"docker_env_vars": given} if given else {}
    plan = build_plan(request(None, values, image=Image("i", env=image)))
    assert plan.script.probe_rocm_path is probe
    assert (plan.env["ROCM_PATH"].value if expected else None) == expected
    assert ("ROCM_PATH" in plan.env) is bool(expected)


def test_rocm_path_is_for_amd_only() -> None:
    host = facts("NVIDIA")
    plan = build_plan(request(context=context(host=host), image=Image("i", env={"ROCM_PATH": "/c"})))
    assert "ROCM_PATH" not in plan.env
    assert plan.script.probe_rocm_path is False


def test_contract_10_7_row_8_multi_node() -> None:
    """Contract 10.7, row 8, and 15.2: all variables, with what was filled in."""
    env = _env(None, {"multi_node_args": {"NNODES": "2", "MASTER_ADDR": "10.0.0.1"}}, lease=Lease((0, 1)))
    prefix = "MAD_MULTI_NODE_"
    found = {name.removeprefix(prefix): entry.value for name, entry in env.items() if name.startswith(prefix)}
    runner = found.pop("RUNNER")
    assert "--nproc_per_node 2 --nnodes 2" in str(runner)
    assert found == {
        "NNODES": "2",
        "NODE_RANK": "0",
        "MASTER_ADDR": "10.0.0.1",
        "MASTER_PORT": "6006",
        "HOST_LIST": "",
        "NCCL_SOCKET_IFNAME": "",
        "GLOO_SOCKET_IFNAME": "",
    }
    assert [env[prefix + name].origin for name in ("NNODES", "NODE_RANK")] == ["string", "plan"]


def test_contract_15_1_user_runner() -> None:
    """Contract 15.1, last row: docker_env_vars wins."""
    env = _env(None, {"docker_env_vars": {"MAD_MULTI_NODE_RUNNER": "mine"}})
    assert _pairs(env, "MAD_MULTI_NODE_RUNNER") == [("mine", "string")]


def test_contract_5_parameters() -> None:
    """Contract 5: own name when valid, flags are 1, computed variables stay and a note says so."""
    plan = build_plan(
        request(
            model(cred="C", env_vars={"bs": "0"}),
            parameters={"bs": "4", "flag": None, "batch-size": "1", "MAD_DATAHOME": "x", "C_PORT": "1"},
            credentials={"C": {"port": "22"}},
        )
    )
    assert _pairs(dict(plan.env), "bs", "flag", "C_PORT") == [
        ("4", "parameter"),
        ("1", "parameter"),
        ("22", "credential:C"),
    ]
    assert not {"batch-size", "MAD_DATAHOME"} & set(plan.env)
    assert sum("does not replace" in note for note in plan.notes) == 2


def test_contract_10_7_row_9_secrets() -> None:
    """Contract 10.7, row 9: MAD_SECRETS* of the host, always secret."""
    env = _env(environ={"MY_MAD_SECRETS_X": "hunter2", "OTHER": "x"})
    assert env["MY_MAD_SECRETS_X"] == EnvValue(Secret("hunter2"), "env:MY_MAD_SECRETS_X")
    assert "OTHER" not in env


def test_defect_9_secrets_are_typed() -> None:
    """Defect 9: given tokens in every source / when planned / then they are secrets of the plan."""
    plan = build_plan(
        request(
            model(
                env_vars={"API_KEY": "k-1111"},
                additional_docker_run_options="-e HF_TOKEN=k-2222 -e MY_TOKEN -e NO",
            ),
            {"docker_env_vars": {"WANDB_TOKEN": "k-3333", "PLAIN_TOKEN": Secret("k-4444")}},
            parameters={"auth_token": "k-5555"},
            environ={"MY_TOKEN": "k-6666"},
        )
    )
    assert {reveal(secret) for secret in plan.secrets} == {f"k-{digit * 4}" for digit in "123456"}
    assert "k-" not in repr(dict(plan.env))
    assert plan.env["MY_TOKEN"].origin == "env:MY_TOKEN"
    assert "NO" not in plan.env


@pytest.mark.parametrize("name", ["A-B", "1A", "", "A B", "A=B"])
def test_contract_10_7_invalid_names(name: str) -> None:
    """Contract 10.7, row 10: invalid names are a usage error."""
    with pytest.raises(ConfigError, match="not a valid variable name"):
        _env(None, {"docker_env_vars": {name: "x"}})


@pytest.mark.parametrize("env_vars", [{"A=B": "x"}, {"": "x"}, {"A": "x\0y"}])
def test_variables_that_cannot_be_sent(env_vars: Any) -> None:
    with pytest.raises(PlanError, match="cannot be a container variable"):
        _env(model(env_vars=env_vars))


def test_value_without_text() -> None:
    with pytest.raises(ConfigError, match=r"docker_env_vars\.A must be text"):
        _env(None, {"docker_env_vars": {"A": [1]}})


def test_contract_9_2_references() -> None:
    """Contract 9.2: references of a manifest are resolved; a missing one is named."""
    values = {"docker_env_vars": {"A": {"from_env": "HOST_A"}, "B": {"from_credential": "k.f"}}}
    env = _env(None, values, environ={"HOST_A": "a-1"}, credentials={"k": {"f": Secret("b-1")}})
    assert [env[name].value for name in "AB"] == [Secret("a-1"), Secret("b-1")]
    with pytest.raises(PlanError, match="HOST_A"):
        _env(None, {"docker_env_vars": {"A": {"from_env": "HOST_A"}}})
    with pytest.raises(CredentialError, match=r"k\.f"):
        _env(None, {"docker_env_vars": {"A": {"from_credential": "k.f"}}})


def test_contract_10_7_jobs() -> None:
    """Contract 10.7, last row: inherited inside jobs only; a user's docker_env_vars still wins."""
    host = {name: f"h-{name}" for name in JOB_VARIABLES} | {"MAD_DEPLOYMENT_TYPE": "slurm", "NNODES": "2"}
    env = _env(None, {"docker_env_vars": {"NCCL_DEBUG": "mine"}}, environ=host)
    assert {name for name in JOB_VARIABLES if name in env} == set(JOB_VARIABLES)
    assert _pairs(env, "RANK", "NCCL_DEBUG") == [("h-RANK", "env:RANK"), ("mine", "string")]
    outside = _env(environ={**host, "MAD_DEPLOYMENT_TYPE": "local"})
    assert not set(JOB_VARIABLES) & set(outside)


@pytest.mark.parametrize("job", [{}, {"MAD_DEPLOYMENT_TYPE": "slurm"}, {"MAD_K8S_JOB": "1"}])
def test_the_devices_of_the_host_stay_outside(job: dict[str, str]) -> None:
    """faults 3.2: given *_VISIBLE_DEVICES of Slurm / when planned / then none reaches the container."""
    host = {
        f"{name}_VISIBLE_DEVICES": "4,5,6,7" for name in ("CUDA", "HIP", "ROCR", "NVIDIA", "GPU", "HABANA")
    }
    host |= {"GPU_DEVICE_ORDINAL": "4", "ZE_AFFINITY_MASK": "4"}
    assert not set(_env(environ={**host, **job})) & set(host)
    chosen = {"docker_env_vars": {"HIP_VISIBLE_DEVICES": "0"}}
    assert _env(None, chosen, environ={**host, **job})["HIP_VISIBLE_DEVICES"].value == "0"


def test_defect_26_hostile_values() -> None:
    """Defect 26: given values with shell syntax / when planned / then each stays one text."""
    hostile = "'; touch x; $(id) \""
    env = _env(model(env_vars={"A": hostile}), {"docker_env_vars": {"B": hostile}})
    assert [env[name].value for name in "AB"] == [hostile, hostile]


def test_labels_of_the_request_are_those_of_the_plan() -> None:
    wanted = {"pytest-madengine.model": "dummy"}
    assert build_plan(replace(request(), labels=wanted)).labels == wanted


def test_proxies_of_the_docker_client_are_the_first_row() -> None:
    """Faults 5.1: given proxies of the docker client / when planned / then any other row replaces them."""
    env = _env(
        given={"env_vars": {"http_proxy": "http://given"}}, proxies={"HTTP_PROXY": "p", "http_proxy": "p"}
    )
    assert _pairs(env, "HTTP_PROXY", "http_proxy") == [
        ("p", "docker:config.json"),
        ("http://given", "string"),
    ]
