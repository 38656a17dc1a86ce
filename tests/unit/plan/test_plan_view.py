"""The text of --mad-plan; golden files pin whole plans (UPDATE_GOLDEN=1 rewrites them)."""

from __future__ import annotations

import pytest
from plan_samples import check_golden, context, facts, model, request, settings
from pytest_madengine.plan.builder import HostAbilities, PlanRequest, build_plan
from pytest_madengine.plan.docker.argv import docker_arguments
from pytest_madengine.plan.runplan import DataMount, Image, Lease
from pytest_madengine.plan.view import render_plan
from pytest_madengine.secrets import Redactor, Secret


def _everything() -> PlanRequest:
    """A plan in which every part has something to show."""
    entry = model(
        "vision/resnet50",
        scripts="scripts/vision/run.py",
        args="--epochs 1",
        n_gpus=2,
        url="https://example.com/org/repo.git",
        cred="AMD_GITHUB",
        data="imagenet,tokenizer",
        multiple_results="perf_resnet.csv",
        timeout=600,
        env_vars={"WORKERS": "4"},
        additional_docker_run_options=(
            "--ulimit memlock=-1:-1 -e HF_HOME=/cache -v /big:/cache:ro --shm-size=64G"
        ),
        distributed={"launcher": "torchtitan"},
    )
    values = {
        "docker_env_vars": {"MAD_MODEL_BATCH_SIZE": "32", "WANDB_API_KEY": "wandb-secret-1"},
        "docker_mounts": {"/mnt/results": "/host/results"},
        "docker_cpus": "0-15, 32",
        "tools": [{"name": "test_tools_A"}, {"name": "test_tools_B", "cmd": "nice"}],
        "pre_scripts": [{"path": "scripts/common/pre_scripts/pre_test.sh", "args": "1"}],
        "gpu_renderDs": [128, 136, 144, 152],
    }
    return request(
        entry,
        values,
        parameters={"bs": "8", "fp16": None},
        base="resnet50.ubuntu.amd",
        image=Image(
            "ci-vision_resnet50_resnet50.ubuntu.amd", dockerfile="docker/resnet50.ubuntu.amd.Dockerfile"
        ),
        lease=Lease((1, 3)),
        credentials={"AMD_GITHUB": {"username": "robot", "password": Secret("ghp-secret-2")}},
        data=(
            DataMount("imagenet", "local", "/data_dlm_0", "/nas/imagenet"),
            DataMount("tokenizer", "custom", "/data_dlm_1", script="scripts/data/get.sh", args="small"),
        ),
        environ={"HOME": "/home/user", "BUILD_NUMBER": "42", "CI_MAD_SECRETS": "ci-secret-3"},
    )


_NVIDIA = facts("NVIDIA", 2)
_NONE = facts("CPU", 0)
_PLANS = {
    "plain_amd": lambda: request(),
    "everything": _everything,
    "nvidia_two_gpus": lambda: request(
        model(n_gpus=-1),
        {"SHM_SIZE": "16G"},
        context=context({"SHM_SIZE": "16G"}, host=_NVIDIA),
        lease=Lease((0, 1)),
    ),
    "cpu_skip_keep": lambda: request(
        model(n_gpus=0),
        context=context(host=_NONE),
        lease=Lease(),
        settings=settings(skip_model_run=True, keep_alive=True, timeout=0),
        host=HostAbilities(fuse=False),
    ),
    "simulated": lambda: request(
        model(),
        context=context({"multi_node_args": {"NNODES": "2"}}, host=facts("AMD", 4, simulated=True)),
        lease=Lease((0,), simulated=True),
    ),
}


@pytest.mark.parametrize("name", _PLANS)
def test_golden(name: str) -> None:
    check_golden(name, render_plan(build_plan(_PLANS[name]()), Redactor()))


def test_defect_9_no_secret_in_the_view() -> None:
    """Defect 9: given secrets of all kinds / when the plan is printed / then none of them is in it."""
    plan = build_plan(_everything())
    text = render_plan(plan, Redactor())
    for secret in ("wandb-secret-1", "ghp-secret-2", "ci-secret-3"):
        assert secret not in text
        assert secret not in " ".join(docker_arguments(plan))
    assert "WANDB_API_KEY=***" in text
    assert "--env=WANDB_API_KEY " in text


def test_secrets_of_the_session_are_hidden() -> None:
    plan = build_plan(request(model(args="--key session-secret")))
    assert "session-secret" not in render_plan(plan, Redactor(["session-secret"]))


def test_values_cannot_forge_lines() -> None:
    plan = build_plan(request(model(env_vars={"A": "x\ny\x1b[31m"}, args="a\nb")))
    text = render_plan(plan, Redactor())
    assert r"A=x\ny\x1b[31m" in text
    assert "\x1b" not in text


def test_contract_10_4_labels_are_not_pasted() -> None:
    """A container started by hand must not look like one of ours: the reaper would remove it."""
    assert "pytest-madengine." not in " ".join(docker_arguments(build_plan(request())))
