"""Translation of docker options into the engine API's words (section 10.4)."""

from __future__ import annotations

import dataclasses
import json

import pytest
from pytest_madengine.errors import PlanError
from pytest_madengine.executors.docker.hostconfig import container_config, host_config, port_bindings
from pytest_madengine.plan.runplan import Device, DockerOptions, Mount

VECTORS = [
    ({"network": "bridge"}, {"NetworkMode": "bridge"}),
    ({"ipc": "host"}, {"IpcMode": "host"}),
    ({"pid": "host"}, {"PidMode": "host"}),
    ({"uts": "host"}, {"UTSMode": "host"}),
    ({"cgroupns": "private"}, {"CgroupnsMode": "private"}),
    ({"userns": "host"}, {"UsernsMode": "host"}),
    ({"shm_size": 1 << 30}, {"ShmSize": 1 << 30}),
    ({"cap_add": ("SYS_PTRACE", "SYS_ADMIN")}, {"CapAdd": ["SYS_PTRACE", "SYS_ADMIN"]}),
    ({"cap_drop": ("ALL",)}, {"CapDrop": ["ALL"]}),
    ({"security_opt": ("seccomp=unconfined",)}, {"SecurityOpt": ["seccomp=unconfined"]}),
    ({"security_opt": ("apparmor:unconfined",)}, {"SecurityOpt": ["apparmor=unconfined"]}),
    ({"security_opt": ("no-new-privileges",)}, {"SecurityOpt": ["no-new-privileges"]}),
    ({"group_add": ("video", "render")}, {"GroupAdd": ["video", "render"]}),
    (
        {"devices": (Device("/dev/kfd", "/dev/kfd"), Device("/dev/a", "/dev/b", "r"))},
        {
            "Devices": [
                {"PathOnHost": "/dev/kfd", "PathInContainer": "/dev/kfd", "CgroupPermissions": "rwm"},
                {"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"},
            ]
        },
    ),
    (
        {"gpu_ids": ("0", "1")},
        {
            "DeviceRequests": [
                {
                    "Driver": "",
                    "Count": 0,
                    "DeviceIDs": ["0", "1"],
                    "Capabilities": [["gpu"]],
                    "Options": {},
                }
            ]
        },
    ),
    (
        {"gpu_ids": ("all",), "gpu_capabilities": ("gpu", "utility")},
        {
            "DeviceRequests": [
                {
                    "Driver": "",
                    "Count": -1,
                    "DeviceIDs": None,
                    "Capabilities": [["gpu", "utility"]],
                    "Options": {},
                }
            ]
        },
    ),
    ({"cpuset_cpus": "14-18,32", "cpuset_mems": "0"}, {"CpusetCpus": "14-18,32", "CpusetMems": "0"}),
    ({"cpus": 1.5}, {"NanoCpus": 1_500_000_000}),
    ({"cpu_shares": 512}, {"CpuShares": 512}),
    (
        {"memory": 1, "memory_swap": -1, "memory_reservation": 2},
        {"Memory": 1, "MemorySwap": -1, "MemoryReservation": 2},
    ),
    ({"pids_limit": 0}, {"PidsLimit": 0}),
    ({"oom_score_adj": -500}, {"OomScoreAdj": -500}),
    ({"privileged": True, "init": True, "read_only": True}, {
        "Privileged": True, "Init": True, "ReadonlyRootfs": True,
    }),
    ({"runtime": "nvidia"}, {"Runtime": "nvidia"}),
    ({"ulimits": {"memlock": (-1, -1)}}, {"Ulimits": [{"Name": "memlock", "Soft": -1, "Hard": -1}]}),
    ({"sysctls": {"net.ipv4.ip_forward": "1"}}, {"Sysctls": {"net.ipv4.ip_forward": "1"}}),
    ({"tmpfs": {"/t": "size=1m"}}, {"Tmpfs": {"/t": "size=1m"}}),
    ({"extra_hosts": {"a": "10.0.0.1"}}, {"ExtraHosts": ["a:10.0.0.1"]}),
    (
        {"dns": ("1.1.1.1",), "dns_search": ("a",), "dns_options": ("b",)},
        {"Dns": ["1.1.1.1"], "DnsSearch": ["a"], "DnsOptions": ["b"]},
    ),
    ({"volumes_from": ("c",)}, {"VolumesFrom": ["c"]}),
    ({"device_cgroup_rules": ("c 1:3 r",)}, {"DeviceCgroupRules": ["c 1:3 r"]}),
    ({"publish": ("8080:80",)}, {"PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}}),
    ({"storage_opt": {"size": "1G"}}, {"StorageOpt": {"size": "1G"}}),
    ({"extra_host_config": {"CpuQuota": 50000}}, {"CpuQuota": 50000}),
]  # fmt: skip

#: Fields that are no part of HostConfig.
ELSEWHERE = {
    "user": "root",
    "hostname": "h",
    "domainname": "d",
    "mac_address": "02:00:00:00:00:01",
    "platform": "linux/amd64",
    "labels": {"a": "b"},
    "extra_config": {"Healthcheck": {"Test": ["NONE"]}},
}


@pytest.mark.parametrize(("changes", "expected"), VECTORS, ids=[",".join(entry[0]) for entry in VECTORS])
def test_host_config(changes, expected):
    config = host_config(DockerOptions(**{"network": "", **changes}), [])
    assert config == expected
    json.dumps(config)


def test_every_field_is_translated():
    """No option of a plan is lost silently."""
    tested = {name for changes, _ in VECTORS for name in changes} | set(ELSEWHERE)
    assert tested == {field.name for field in dataclasses.fields(DockerOptions)}


def test_defaults_say_only_the_network():
    assert host_config(DockerOptions(), []) == {"NetworkMode": "host"}


def test_container_config():
    options = DockerOptions(**ELSEWHERE, publish=("80",))
    config = container_config(
        options, image="i", env={"A": "x y", "B": ""}, labels={"own": "1"}, host={"NetworkMode": "host"}
    )
    assert config["Env"] == ["A=x y", "B="]
    assert config["Labels"] == {"a": "b", "own": "1"}
    assert (config["User"], config["Hostname"], config["Domainname"]) == ("root", "h", "d")
    assert config["MacAddress"] == "02:00:00:00:00:01"
    assert config["ExposedPorts"] == {"80/tcp": {}}
    assert config["Healthcheck"] == {"Test": ["NONE"]}
    assert (config["WorkingDir"], config["StopSignal"]) == ("/myworkspace", "SIGTERM")


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        (Mount("/a:b,c", "/t"), {"Type": "bind", "Source": "/a:b,c", "Target": "/t", "ReadOnly": True}),
        (Mount("vol", "/t", False), {"Type": "volume", "Source": "vol", "Target": "/t", "ReadOnly": False}),
        (Mount("", "/t", False), {"Type": "volume", "Target": "/t", "ReadOnly": False}),
        (
            Mount("/a", "/t", options=("rshared", "cached", "ro")),
            {
                "Type": "bind",
                "Source": "/a",
                "Target": "/t",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rshared"},
                "Consistency": "cached",
            },
        ),
        (
            Mount("vol", "/t", options=("nocopy",)),
            {
                "Type": "volume",
                "Source": "vol",
                "Target": "/t",
                "ReadOnly": True,
                "VolumeOptions": {"NoCopy": True},
            },
        ),
    ],
)
def test_mounts(mount, expected):
    assert host_config(DockerOptions(network=""), [mount]) == {"Mounts": [expected]}


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        (Mount("/a", "/t", options=("z",)), "/a:/t:ro,z"),
        (Mount("/a", "/t", False, options=("Z", "rslave")), "/a:/t:rw,Z,rslave"),
        (Mount("/a", "/t", False, options=("ro", "z")), "/a:/t:ro,z"),
    ],
)
def test_relabelled_mounts_use_the_short_form(mount, text):
    assert host_config(DockerOptions(network=""), [mount]) == {"Binds": [text]}


@pytest.mark.parametrize(
    "mount", [Mount("/a:b", "/t", options=("z",)), Mount("/a", "/t", options=("whatever",))]
)
def test_mounts_that_cannot_be_translated(mount):
    with pytest.raises(PlanError, match="/t"):
        host_config(DockerOptions(), [mount])


def test_a_seccomp_profile_is_sent_as_its_content(tmp_path):
    profile = tmp_path / "p.json"
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    options = DockerOptions(network="", security_opt=(f"seccomp={profile}", 'seccomp={"a": 1}'))
    texts = host_config(options, [])["SecurityOpt"]
    assert texts == ['seccomp={"defaultAction": "SCMP_ACT_ALLOW"}', 'seccomp={"a": 1}']
    with pytest.raises(PlanError, match="cannot read the profile"):
        host_config(DockerOptions(security_opt=("seccomp=/no/such/file",)), [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", {"80/tcp": [{"HostIp": "", "HostPort": ""}]}),
        ("127.0.0.1:53:53/udp", {"53/udp": [{"HostIp": "127.0.0.1", "HostPort": "53"}]}),
        (
            "8000-8001:80-81",
            {
                "80/tcp": [{"HostIp": "", "HostPort": "8000"}],
                "81/tcp": [{"HostIp": "", "HostPort": "8001"}],
            },
        ),
    ],
)
def test_ports(text, expected):
    assert port_bindings([text]) == expected


def test_a_port_that_is_none():
    with pytest.raises(PlanError, match="--publish x:y:z:1"):
        port_bindings(["x:y:z:1"])
