"""additional_docker_run_options, contract 10.4."""

from __future__ import annotations

import contextlib
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import PlanError
from pytest_madengine.plan.docker.argv import mount_argument, option_arguments
from pytest_madengine.plan.docker.flag_table import FLAGS, SHORT
from pytest_madengine.plan.docker.flags import merge_notes, merge_options, parse_run_options
from pytest_madengine.plan.runplan import Device, DockerOptions, Mount


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("--shm-size 16G", {"shm_size": 16 << 30}),
        ("--shm-size=64m", {"shm_size": 64 << 20}),
        ("--memory 1.5gb --memory-swap -1", {"memory": 3 << 29, "memory_swap": -1}),
        (
            "-m 1024 -c 512 -u 1000:1000 -h box",
            {"memory": 1024, "cpu_shares": 512, "user": "1000:1000", "hostname": "box"},
        ),
        ("-m1g", {"memory": 1 << 30}),
        (
            "--net=host --ipc host --pid=host --uts host",
            {"network": "host", "ipc": "host", "pid": "host", "uts": "host"},
        ),
        ("--ulimit memlock=-1 --ulimit=stack=1:2", {"ulimits": {"memlock": (-1, -1), "stack": (1, 2)}}),
        (
            "--device=/dev/kfd --device /dev/a:/dev/b:r",
            {"devices": (Device("/dev/kfd", "/dev/kfd"), Device("/dev/a", "/dev/b", "r"))},
        ),
        ("--device /dev/a:rw", {"devices": (Device("/dev/a", "/dev/a", "rw"),)}),
        (
            "--cap-add=SYS_PTRACE --cap-add ALL --cap-drop X",
            {"cap_add": ("SYS_PTRACE", "ALL"), "cap_drop": ("X",)},
        ),
        (
            "--privileged --init=false --read-only=true",
            {"privileged": True, "init": False, "read_only": True},
        ),
        (
            "--security-opt seccomp:unconfined --security-opt no-new-privileges",
            {"security_opt": ("seccomp=unconfined", "no-new-privileges")},
        ),
        (
            "--security-opt systempaths=unconfined",
            {"extra_host_config": {"MaskedPaths": [], "ReadonlyPaths": []}},
        ),
        ("--gpus all", {"gpu_ids": ("all",), "gpu_capabilities": ()}),
        ("--gpus '\"device=0,1\"'", {"gpu_ids": ("0", "1"), "gpu_capabilities": ()}),
        ("--gpus device=0,1", {"gpu_ids": ("0", "1"), "gpu_capabilities": ()}),
        (
            "--gpus 'all,\"capabilities=compute,utility\"'",
            {"gpu_ids": ("all",), "gpu_capabilities": ("compute", "utility")},
        ),
        (
            "--cpus 1.5 --cpuset-cpus 0-3 --pids-limit -1",
            {"cpus": 1.5, "cpuset_cpus": "0-3", "pids_limit": -1},
        ),
        (
            "--sysctl a.b=1 --storage-opt size=1G -l k --label k2=v",
            {"sysctls": {"a.b": "1"}, "storage_opt": {"size": "1G"}, "labels": {"k": "", "k2": "v"}},
        ),
        ("--tmpfs /run:rw,size=1m --tmpfs /t", {"tmpfs": {"/run": "rw,size=1m", "/t": ""}}),
        ("--add-host a:1.2.3.4 --add-host=b=::1", {"extra_hosts": {"a": "1.2.3.4", "b": "::1"}}),
        (
            "-p 80:80 -p 127.0.0.1::90/udp -P",
            {"publish": ("80:80", "127.0.0.1::90/udp"), "extra_host_config": {"PublishAllPorts": True}},
        ),
        ("--expose 80 --expose 90/udp", {"extra_config": {"ExposedPorts": {"80/tcp": {}, "90/udp": {}}}}),
        ("--cpu-period 10 --cpu-quota=-1", {"extra_host_config": {"CpuPeriod": 10, "CpuQuota": -1}}),
        (
            "--device-read-bps /dev/sda:1m --device-read-bps /dev/sdb:2m",
            {
                "extra_host_config": {
                    "BlkioDeviceReadBps": [
                        {"Path": "/dev/sda", "Rate": 1 << 20},
                        {"Path": "/dev/sdb", "Rate": 2 << 20},
                    ]
                }
            },
        ),
        (
            "--blkio-weight-device /dev/sda:10",
            {"extra_host_config": {"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 10}]}},
        ),
        (
            "--health-cmd 'a b' --health-interval 1m30s",
            {"extra_config": {"Healthcheck": {"Test": ["CMD-SHELL", "a b"], "Interval": 90 * 10**9}}},
        ),
        ("--no-healthcheck", {"extra_config": {"Healthcheck": {"Test": ["NONE"]}}}),
        ("--no-healthcheck=false --restart no", {}),
        ("--mount type=tmpfs,dst=/t,tmpfs-size=1k,tmpfs-mode=700", {"tmpfs": {"/t": "size=1024,mode=700"}}),
        ("--annotation a=b", {"extra_host_config": {"Annotations": {"a": "b"}}}),
        (
            "--oom-kill-disable --dns-opt x",
            {"extra_host_config": {"OomKillDisable": True}, "dns_options": ("x",)},
        ),
        ("", {}),
    ],
)
def test_flags_become_fields(text: str, fields: dict[str, Any]) -> None:
    parsed = parse_run_options(text)
    assert parsed.fields == fields
    assert parsed.notes == ()


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("-v /a:/b", Mount("/a", "/b", False, "model")),
        ("-v/a:/b:ro,z", Mount("/a", "/b", True, "model", ("z",))),
        ("--volume=cache:/c:rw,nocopy", Mount("cache", "/c", False, "model", ("nocopy",))),
        ("-v /c", Mount("", "/c", False, "model")),
        ("-v ./x:/c", Mount("./x", "/c", False, "model")),
        (
            "--mount type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave",
            Mount("/a", "/b", True, "model", ("rslave",)),
        ),
        ("--mount source=c,target=/b,volume-nocopy", Mount("c", "/b", False, "model", ("nocopy",))),
        ("--mount target=/b,ro=false", Mount("", "/b", False, "model")),
    ],
)
def test_mounts(text: str, mount: Mount) -> None:
    assert parse_run_options(text).mounts == (mount,)


def test_variables() -> None:
    parsed = parse_run_options("-e A=1 -eB=x=y -e=C --env D=")
    assert parsed.env == {"A": "1", "B": "x=y", "C": None, "D": ""}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("--name x", "--name"),
        ("--rm", "--rm"),
        ("-d", "-d"),
        ("-it", "-i"),
        ("-t", "-t"),
        ("--entrypoint sh", "--entrypoint"),
        ("--env-file f", "--env-file"),
        ("--restart always", "--restart"),
        ("--cpu-count 2", "--cpu-count"),
        ("--ip 1.2.3.4", "--ip"),
        ("--use-api-socket", "--use-api-socket"),
    ],
)
def test_flags_that_are_not_allowed(text: str, named: str) -> None:
    with pytest.raises(PlanError, match=rf"additional_docker_run_options: {named}:? is not allowed: \w+"):
        parse_run_options(text)


def test_unknown_flag_has_a_suggestion() -> None:
    with pytest.raises(PlanError, match="unknown docker run option '--shmsize'") as caught:
        parse_run_options("--shmsize=1g")
    assert "'--shm-size'" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "image",
        "--",
        "-",
        "-z",
        "--env",
        "-e ''",
        "'",
        "--shm-size 1x",
        "--shm-size",
        "--memory -1",
        "--cpus 0",
        "--pids-limit x",
        "--pids-limit -2",
        "--oom-score-adj 2000",
        "--init=maybe",
        "--ipc x",
        "--ipc container:",
        "--ulimit x=1",
        "--ulimit nofile=2:1",
        "--ulimit nofile",
        "--device dev",
        "--device /a:/b:x",
        "--device /a:b:r",
        "--device /a:/b:r:w",
        "--gpus 2",
        "--gpus device=",
        "--gpus '\"a'",
        "--gpus ''",
        "-v a",
        "-v '~/x:/y'",
        "-v '$HOME/x:/y'",
        "-v /a:/b:bad",
        "-v /a:/b:ro:x",
        "-v /a:b",
        "--mount type=bind,dst=/b",
        "--mount type=npipe,dst=/b",
        "--mount type=bind,src=name,dst=/b",
        "--mount type=volume,src=/a,dst=/b",
        "--mount dst=/b,foo=1",
        "--tmpfs run",
        "--mount type=bind,src=/a",
        "--sysctl a",
        "--add-host a",
        "-p x",
        "--expose x",
        "--security-opt seccomp=/p.json",
        "--security-opt foo=1",
        "--label =x",
        "--label pytest-madengine.run-id=x",
        "--device-read-bps x",
        "--health-interval x",
        "--cgroupns x",
        "--shm-size 999999999999999999P",
        "--memory 8192P",
        "--cpus 1e300",
        f"--cpus {'9' * 299}",
        f"--shm-size {'9' * 299}",
        "--health-interval 999999999999h",
        "--health-timeout 0 --no-healthcheck",
        "--no-healthcheck --health-cmd x",
    ],
)
def test_malformed_values(text: str) -> None:
    with pytest.raises(PlanError, match="additional_docker_run_options: "):
        parse_run_options(text)


@pytest.mark.parametrize("text", ["-w /x", "--pull always", "--log-driver none", "--stop-signal KILL", "-q"])
def test_flags_without_effect_are_noted(text: str) -> None:
    parsed = parse_run_options(text)
    assert parsed.fields == {}
    assert "has no effect" in parsed.notes[0]


def test_defect_27_nothing_is_expanded() -> None:
    """Defect 26, 27: given shell syntax in the options / when parsed / then it is text, with a note."""
    parsed = parse_run_options("-e 'A=$(hostname)' -e B='; touch x; `id`'")
    assert parsed.env == {"A": "$(hostname)", "B": "; touch x; `id`"}
    assert "not expanded" in parsed.notes[0]


def test_error_does_not_quote_the_text() -> None:
    with pytest.raises(PlanError) as caught:
        parse_run_options("-e HF_TOKEN=hunter2 '")
    assert "hunter2" not in str(caught.value)


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from([f"--{name}" for name in FLAGS] + [f"-{letter}" for letter in SHORT])
        | st.text("/abc:=,019-.\"'mgk", max_size=12),
        max_size=6,
    ).map(" ".join)
)
def test_never_anything_but_a_plan_error(text: str) -> None:
    with contextlib.suppress(PlanError):
        merge_options(DockerOptions(), parse_run_options(text))


@given(
    st.lists(
        st.sampled_from(
            [
                "--shm-size=1024",
                "--memory=5",
                "--cpus=1.5",
                "--cap-add=A",
                "--cap-drop=B",
                "--privileged",
                "--init",
                "--device=/dev/a",
                "--device=/dev/a:/dev/b:r",
                "--ulimit=nofile=1:2",
                "--sysctl=a=b",
                "--tmpfs=/t:size=1",
                "--tmpfs=/u",
                "--add-host=a=::1",
                "--publish=80:80",
                "--gpus=device=1",
                "--expose=80",
                "--cpu-quota=5",
                "--device-write-iops=/dev/a:5",
                "--security-opt=systempaths=unconfined",
                "--annotation=a=b",
                "--label=k=v",
                "--health-cmd=x",
                "--health-interval=1s",
                "--health-retries=3",
                "--publish-all",
                "--blkio-weight-device=/dev/a:3",
                "--runtime=runc",
                "--userns=host",
                "--gpus=all,capabilities=utility",
            ]
        ),
        max_size=8,
    )
)
def test_written_options_read_back(words: list[str]) -> None:
    """What the view writes is read as the same options."""
    first = merge_options(DockerOptions(), parse_run_options(shlex.join(words)))
    again = merge_options(DockerOptions(), parse_run_options(shlex.join(option_arguments(first))))
    assert again == first


@pytest.mark.parametrize(
    "mount",
    [
        Mount("/a", "/b"),
        Mount("/a", "/b", False),
        Mount("v", "/b", False, "", ("z",)),
        Mount("", "/b", False),
        Mount('/a:x,"', "/b"),
    ],
)
def test_written_mounts_read_back(mount: Mount) -> None:
    (again,) = parse_run_options(shlex.quote(mount_argument(mount))).mounts
    assert (again.source, again.target, again.read_only, again.options) == (
        mount.source,
        mount.target,
        mount.read_only,
        mount.options,
    )


def test_merging() -> None:
    base = DockerOptions(
        ipc="host", cap_add=("A",), devices=(Device("/dev/a", "/dev/a"),), ulimits={"core": (0, 0)}
    )
    parsed = parse_run_options(
        "--network none --cap-add A --cap-add B --device /dev/x:/dev/a --device /dev/b --ulimit core=1 "
        "--gpus device=1 --gpus all"
    )
    merged = merge_options(base, parsed)
    assert (merged.network, merged.ipc, merged.cap_add, merged.gpu_ids) == (
        "none",
        "host",
        ("A", "B"),
        ("all",),
    )
    assert merged.devices == (Device("/dev/x", "/dev/a"), Device("/dev/b", "/dev/b"))
    assert merged.ulimits == {"core": (1, 1)}
    assert base.cap_add == ("A",)


@pytest.mark.parametrize(
    ("text", "warned"),
    [("--shm-size 1g", True), ("--shm-size 1g --ipc private", False), ("--init", False)],
)
def test_contract_10_4_shm_size_beside_host_ipc(text: str, warned: bool) -> None:
    """Contract 10.4: it has no effect; the warning names SHM_SIZE."""
    notes = merge_notes(DockerOptions(ipc="host"), parse_run_options(text))
    assert any("SHM_SIZE" in note for note in notes) is warned


@pytest.mark.parametrize(
    "text", ["--gpus all", "--device /dev/dri", "--device=/dev/dri/renderD128", "--device /dev/nvidia0"]
)
def test_gpus_outside_of_the_lease_warn(text: str) -> None:
    assert any("lease" in note for note in merge_notes(DockerOptions(), parse_run_options(text)))
