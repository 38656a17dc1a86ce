"""Docker options, contract 10.4."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from plan_samples import context, facts, model, request, settings
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.builder import HostAbilities, build_plan
from pytest_madengine.plan.docker.argv import option_arguments
from pytest_madengine.plan.docker.options import base_options, render_minors
from pytest_madengine.plan.runplan import DockerOptions, Lease

_AMD = (
    "--network=host --user=root --ipc=host --group-add=video --cap-add=SYS_PTRACE "
    "--security-opt=seccomp=unconfined --security-opt=apparmor=unconfined --device=/dev/fuse"
)
_NVIDIA = (
    "--network=host --user=root --ipc=host --cap-add=SYS_PTRACE --cap-add=SYS_NICE "
    "--security-opt=seccomp=unconfined --security-opt=apparmor=unconfined --device=/dev/fuse"
)
_CPU = "--network=host --user=root --ipc=host --cap-add=SYS_PTRACE --security-opt=seccomp=unconfined"


def _options(vendor: str = "AMD", values: Any = None, **changes: Any) -> DockerOptions:
    host = facts(vendor, 0 if vendor == "CPU" else 8)
    return base_options(request(context=context(values, host=host), **changes))[0]


@pytest.mark.parametrize(
    ("vendor", "expected"),
    [
        ("AMD", _AMD),
        ("NVIDIA", _NVIDIA),
        ("INTEL", _AMD.replace("--group-add=video", "--group-add=video --group-add=render")),
        ("CPU", _CPU),
    ],
)
def test_contract_10_4_base(vendor: str, expected: str) -> None:
    """Contract 10.4, row 1."""
    assert option_arguments(_options(vendor, lease=Lease())) == expected.split()


def test_contract_10_4_mad_cpu() -> None:
    """Contract 10.4, last column: also on a host with GPUs."""
    assert option_arguments(_options("AMD", settings=settings(cpu=True))) == _CPU.split()


@pytest.mark.parametrize(
    ("vendor", "expected"),
    [
        ("AMD", ["/dev/fuse", "/dev/kfd", "/dev/dri/renderD136", "/dev/dri/renderD152"]),
        ("INTEL", ["/dev/fuse", "/dev/dri/renderD136", "/dev/dri/renderD152"]),
    ],
)
def test_contract_10_5_render_devices(vendor: str, expected: list[str]) -> None:
    """Contract 10.5: gpu_renderDs [128, 136, 144, 152], GPUs 1 and 3."""
    options = _options(vendor, {"gpu_renderDs": [128, 136, 144, 152]}, lease=Lease((1, 3)))
    assert [device.path_on_host for device in options.devices] == expected


def test_render_devices_from_detection() -> None:
    assert render_minors(context(), (0, 2)) == (128, 144)
    with pytest.raises(PlanError, match="GPU 4 has no known"):
        render_minors(context({"gpu_renderDs": [128]}), (4,))


def test_defect_63_nvidia_devices() -> None:
    """Defect 63: given two GPUs / when planned / then `"device=0,1"`, no trailing comma."""
    options = _options("NVIDIA", lease=Lease((0, 1)))
    assert options.gpu_ids == ("0", "1")
    assert '--gpus="device=0,1"' in option_arguments(options)


@pytest.mark.parametrize("vendor", ["AMD", "NVIDIA", "INTEL"])
def test_simulated_gpus_pass_no_device(vendor: str) -> None:
    options = _options(vendor, lease=Lease((0, 1), simulated=True))
    assert options.gpu_ids == ()
    assert [device.path_on_host for device in options.devices] == ["/dev/fuse"]


def test_defect_23_host_without_fuse_and_groups() -> None:
    """Defect 23, contract 10.4: what does not exist is left out, with a note."""
    options, notes = base_options(request(host=HostAbilities(fuse=False), lease=Lease()))
    assert (options.devices, options.group_add) == ((), ())
    assert ["/dev/fuse" in notes[0], "video" in notes[1]] == [True, True] or "video" in notes[0]
    assert len(notes) == 2


@pytest.mark.parametrize("vendor", ["AMD", "NVIDIA", "INTEL", "CPU"])
def test_no_script_may_mount_unless_its_model_asks(vendor: str) -> None:
    """faults 4.5: given a host with GPUs / when a plan is made / then the container has no SYS_ADMIN, by
    which a script could make the repository read-write; a model that asks for it gets it, and a note."""
    assert "SYS_ADMIN" not in " ".join(option_arguments(_options(vendor)))
    assert not any("could change the repository" in note for note in build_plan(request()).notes)
    for own in ("--cap-add=SYS_ADMIN", "--cap-add cap_sys_admin", "--privileged", "--cap-add=ALL"):
        plan = build_plan(request(model(additional_docker_run_options=own)))
        assert own.replace(" ", "=") in option_arguments(plan.options)
        assert any("could change the repository" in note for note in plan.notes)


def test_contract_10_4_shm_size() -> None:
    """Contract 10.4: SHM_SIZE replaces --ipc=host and is appended to the column."""
    entry = model(additional_docker_run_options="--init")
    plan = build_plan(request(entry, {"SHM_SIZE": "16G"}))
    assert (plan.options.ipc, plan.options.shm_size) == ("", 16 << 30)
    assert plan.docker_run_options_text == "--init --shm-size=16G"
    with pytest.raises(ConfigError, match="SHM_SIZE"):
        build_plan(request(entry, {"SHM_SIZE": "big"}))


def test_contract_10_4_shm_size_in_the_entry_warns() -> None:
    """Contract 10.4: it has no effect beside --ipc=host; the plugin names SHM_SIZE."""
    plan = build_plan(request(model(additional_docker_run_options="--shm-size=1g")))
    assert any("SHM_SIZE" in note for note in plan.notes)
    assert plan.docker_run_options_text == "--shm-size=1g"


def test_contract_10_5_cpus() -> None:
    """Contract 10.5: blanks of docker_cpus are removed; a share of the lease is narrower."""
    values = {"docker_cpus": "14-18, 32,44-44,62"}
    assert _options("AMD", values).cpuset_cpus == "14-18,32,44-44,62"
    assert _options("AMD", values, lease=Lease((0,), cpus="14-15")).cpuset_cpus == "14-15"
    with pytest.raises(ConfigError, match="docker_cpus"):
        _options("AMD", {"docker_cpus": "1-"})


@pytest.mark.parametrize(
    "own",
    [
        "",
        "--privileged --cap-add=CAP_SYS_ADMIN --cap-add ALL --device /dev/fuse:/dev/fuse",
        "--security-opt systempaths=unconfined --security-opt seccomp=unconfined",
    ],
)
def test_defect_34_unprivileged(own: str) -> None:
    """Defect 34: given --mad-unprivileged / when planned / then no SYS_ADMIN, no fuse, no unconfined profile,
    whatever the entry says."""
    entry = model(additional_docker_run_options=own)
    options = build_plan(request(entry, settings=settings(unprivileged=True))).options
    text = " ".join(option_arguments(options))
    for word in ("SYS_ADMIN", "ALL", "fuse", "unconfined", "privileged"):
        assert word not in text
    assert "SYS_PTRACE" in text


def test_unprivileged_without_anything_to_drop_says_nothing() -> None:
    plan = build_plan(request(settings=settings(unprivileged=True, cpu=True)))
    assert plan.options.security_opt == ()


def test_the_engine_gets_uuids() -> None:
    """faults 3.3: given NVIDIA GPUs with UUIDs / when planned / then these, and an index only without one."""
    base = facts("NVIDIA")
    gpus = tuple(replace(gpu, index=gpu.index + 2) for gpu in base.gpus[:3])
    named = (replace(gpus[0], uuid="GPU-a"), replace(gpus[1], uuid="GPU-b"), gpus[2])
    chosen = context(host=replace(base, gpus=named))
    options = base_options(request(context=chosen, lease=Lease((2, 3, 4))))[0]
    assert options.gpu_ids == ("GPU-a", "GPU-b", "4")
    assert '--gpus="device=GPU-a,GPU-b,4"' in option_arguments(options)


@pytest.mark.parametrize("given", [None, [128, 144, 152]])
def test_render_devices_of_a_host_that_lists_0_2_and_3(given: list[int] | None) -> None:
    """faults 3.4: given GPUs 0, 2 and 3 / then each has its own render node, detected or given."""
    base = facts()
    host = replace(base, gpus=tuple(base.gpus[index] for index in (0, 2, 3)))
    chosen = context({"gpu_renderDs": given} if given else {}, host=host)
    assert render_minors(chosen, (2, 3)) == (144, 152)
