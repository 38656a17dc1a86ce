"""``generate slurm``: job scripts whose directives and values are what they were."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.errors import ConfigError, MadError

#: Commands of a cluster; ``srun`` runs its command once per node, one after the other.
FAKES = {
    "getent": (
        "case $2 in node1) echo '10.0.0.1 STREAM node1' ;; "
        "node2) printf '127.0.1.1 STREAM node2\\n10.0.1.2 STREAM\\n' ;; *) exit 2 ;; esac"
    ),
    "scontrol": 'printf "node%s\\n" $(seq "$NODES")',
    "srun": """
nodes=1
while [[ $1 == --* ]]; do [[ $1 == --nodes=* ]] && nodes=${1#*=}; shift; done
status=0
for ((id = 0; id < nodes; id++)); do
  SLURM_NODEID=$id SLURM_PROCID=$id "$@" || status=$?
done
exit $status""",
    "docker": 'echo "docker $*" >>"$RECORD"; [[ $DOCKER != broken ]]',
    "module": "",
    "madengine-cli": """
printf '%s\\n' "run:" "$@" >>"$RECORD"
env | sort >>"$RECORD.env.$NODE_RANK"
while [[ $1 != --additional-context-file ]]; do shift; done
cp "$2" "$RECORD.context.$NODE_RANK"
while [[ $1 != --summary-output ]]; do shift; done
echo '{}' >"$2"
exit "${STATUS:-0}\"""",
    "sbatch": 'echo "sbatch $*" >>"$RECORD"',
}


class Cluster:
    """Runs generated jobs with fake commands."""

    def __init__(self, site: Any, directory: Path) -> None:
        self.site, self.record = site, directory / "record"
        self.bin = directory / "bin"
        self.bin.mkdir()
        for name, text in FAKES.items():
            (self.bin / name).write_text(f"#!/bin/bash\n{text}\n")
            (self.bin / name).chmod(0o755)

    def run(self, script: str, nodes: int = 1, **variables: str) -> subprocess.CompletedProcess[str]:
        environ = {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "RECORD": str(self.record),
            "SLURM_SUBMIT_DIR": str(self.site.out),
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": f"node[1-{nodes}]",
            "NODES": str(nodes),
            "DOCKER": "",
            **variables,
        }
        return subprocess.run(
            ["bash", self.site.out / script],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def context(self, rank: int = 0) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(Path(f"{self.record}.context.{rank}").read_text())
        return value

    def env(self, rank: int = 0) -> dict[str, str]:
        lines = Path(f"{self.record}.env.{rank}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    @property
    def calls(self) -> list[str]:
        return self.record.read_text().splitlines()


@pytest.fixture
def cluster(site: Any, tmp_path: Path) -> Cluster:
    return Cluster(site, tmp_path)


def directives(site: Any, script: str = "01-madengine-m.sbatch") -> dict[str, str]:
    """The options that sbatch reads: comment lines before the first command."""
    found = {}
    for line in (site.out / script).read_text().splitlines():
        if not line.startswith("#"):
            break
        if line.startswith("#SBATCH --"):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            found[name] = value
    return found


def test_directives_without_a_block(site: Any) -> None:
    """No name of a site is a default."""
    site.model("m", n_gpus="0").slurm()
    assert directives(site) == {
        "job-name": "madengine-m",
        "comment": "madengine:default",
        "nodes": "1",
        "ntasks": "1",
        "ntasks-per-node": "1",
        "time": "12:00:00",
        "output": "./slurm_results/madengine-m_%j_%N.out",
        "error": "./slurm_results/madengine-m_%j_%N.err",
        "signal": "TERM@60",
        "exclusive": "",
    }


def test_a_cluster_without_gpus_as_a_resource(site: Any) -> None:
    """faults 5.6: given skip_gpus_directive, then a job without the directive."""
    site.model("m").slurm(
        {"slurm": {"skip_gpus_directive": "true", "_why": "no GRES here", "gpus_per_node": 4}}
    )
    assert not [name for name in directives(site) if "gpus" in name]


def test_directives_of_a_block(site: Any) -> None:
    block = {
        "partition": "gpu",
        "account": "acc",
        "qos": "high",
        "constraint": "[mi300|mi250]&ib",
        "exclude": "n[1-3],n7",
        "nodelist": "n4, n5",
        "reservation": "r1",
        "mem": "100G",
        "mail_user": "a.b@example.com",
        "mail_type": "END,FAIL",
        "nodes": 2,
        "gpus_per_node": 4,
        "time": "1-12:00:00",
        "exclusive": False,
        "output_dir": "/shared/logs",
    }
    site.model("m").slurm({"slurm": block}, environment="night")
    found = directives(site)
    assert (
        found.items()
        >= {
            "partition": "gpu",
            "account": "acc",
            "qos": "high",
            "constraint": "[mi300|mi250]&ib",
            "exclude": "n[1-3],n7",
            "nodelist": "n4,n5",
            "reservation": "r1",
            "mem": "100G",
            "mail-user": "a.b@example.com",
            "mail-type": "END,FAIL",
            "nodes": "2",
            "ntasks": "2",
            "gpus-per-node": "4",
            "time": "1-12:00:00",
            "comment": "madengine:night",
            "output": "/shared/logs/madengine-m_%j_%N.out",
        }.items()
    )
    assert "exclusive" not in found


@pytest.mark.parametrize(
    ("block", "gpus"), [({}, "8"), ({"gpus_per_node": 2}, "2"), ({"slurm_unknown": 1}, "8")]
)
def test_a_model_that_takes_all_gpus(site: Any, block: dict[str, Any], gpus: str) -> None:
    generated = site.model("m", n_gpus="-1").slurm({"slurm": block})
    assert directives(site)["gpus-per-node"] == gpus
    assert any("slurm.slurm_unknown" in text for text in generated.warnings) is ("slurm_unknown" in block)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("partition", "gpu\n#SBATCH --uid=0"),
        ("partition", "a b"),
        ("account", "--uid=0"),
        ("constraint", 'a"b'),
        ("exclude", "n1 #x"),
        ("mem", "1G\n"),
        ("mail_user", "a'b"),
        ("time", "soon"),
        ("nodes", "0"),
        ("output_dir", "a\nb"),
        ("output_dir", "$(id)"),
        ("results_dir", "a b"),
        ("modules", ["rocm; id"]),
        ("modules", ["-x"]),
        ("exclusive", "perhaps"),
        ("network_interface", "eth0;id"),
    ],
)
def test_wrong_values_of_the_block(site: Any, key: str, value: object) -> None:
    site.model("m", n_gpus="0")
    with pytest.raises(ConfigError, match=key):
        site.slurm({"slurm": {key: value}})
    assert not site.out.exists()


def test_a_job_runs_the_manifest_of_its_model(site: Any, cluster: Cluster) -> None:
    site.model("m", n_gpus="0", env_vars={"OMP_NUM_THREADS": "2"}).model("n", n_gpus="0")
    site.slurm({"docker_env_vars": {"A": 'it\'s "$(id)"'}, "slurm": {"output_dir": "logs"}})
    done = cluster.run("01-madengine-m.sbatch")
    assert done.returncode == 0, done.stderr
    place = site.out / "logs/madengine-m/77"
    assert cluster.calls == [
        "docker info",
        "run:",
        *("run", "--manifest-file", f"{site.out}/01-madengine-m.manifest.json"),
        *("--additional-context-file", f"{place}/node_0/context.json"),
        *("--output", f"{place}/node_0/perf.csv", "--results-dir", f"{place}/node_0/mad-results"),
        *("--summary-output", f"{place}/node_0/summary.json"),
    ]
    context, env = cluster.context(), cluster.env()
    assert context["docker_env_vars"]["A"] == 'it\'s "$(id)"'
    assert "slurm" not in context
    assert "OMP_NUM_THREADS" not in context["env_vars"]  # the model says 2
    assert context["env_vars"]["NCCL_DEBUG"] == "WARN"
    assert env["MODEL_DIR"] == str(site.root)
    assert env["MAD_DEPLOYMENT_TYPE"] == "slurm"
    assert (env["MAD_IN_SLURM_JOB"], env["MAD_SLURM_JOB_ID"], env["MAD_COLLECT_METRICS"]) == (
        "1",
        "77",
        "true",
    )
    assert (place / "results_summary.json").exists()
    manifest = json.loads((site.out / "01-madengine-m.manifest.json").read_text())
    assert list(manifest["built_models"]) == ["ci-m0_any"]
    assert "deployment_config" not in manifest


def test_several_nodes(site: Any, cluster: Cluster) -> None:
    site.manifest["deployment_config"] = {"slurm": {"nodes": 2}}
    site.model("m", n_gpus="4", distributed={"launcher": "torchrun", "master_port": 4242})
    site.slurm({"slurm": {"network_interface": "ib0", "enable_node_check": False}})
    assert directives(site)["time"] == "24:00:00"
    done = cluster.run("01-madengine-m.sbatch", nodes=2)
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        env = cluster.env(rank)
        assert cluster.context(rank)["docker_env_vars"]["MAD_MULTI_NODE_RUNNER"] == (
            f"torchrun --nnodes=2 --nproc_per_node=4 --node_rank={rank} --master_addr=node1 "
            "--master_port=4242"
        )
        assert (env["MASTER_ADDR"], env["MASTER_PORT"], env["WORLD_SIZE"]) == ("node1", "4242", "8")
        assert (env["NNODES"], env["GPUS_PER_NODE"], env["NODE_RANK"]) == ("2", "4", str(rank))
        assert env["MAD_COLLECT_METRICS"] == ("true" if rank == 0 else "false")
        assert (env["NCCL_SOCKET_IFNAME"], env["MAD_LAUNCHER_TYPE"]) == ("ib0", "torchrun")
        assert env["HIP_VISIBLE_DEVICES"] == env["ROCR_VISIBLE_DEVICES"] == "0,1,2,3"
        assert cluster.context(rank)["gpus_per_node"] == 4
    assert "docker info" not in cluster.calls


@pytest.mark.parametrize(
    ("launcher", "vendor", "expected"),
    [
        ("vllm", "AMD", {"HIP_VISIBLE_DEVICES"}),
        ("sglang", "AMD", {"HIP_VISIBLE_DEVICES"}),
        ("", "AMD", {"HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"}),
        ("vllm", "NVIDIA", {"CUDA_VISIBLE_DEVICES"}),
    ],
)
def test_visible_devices(site: Any, cluster: Cluster, launcher: str, vendor: str, expected: set[str]) -> None:
    site.manifest["context"] = {"gpu_vendor": vendor}
    site.model("m", n_gpus="2", distributed={"launcher": launcher or "native"})
    site.slurm({"slurm": {"enable_node_check": False}})
    names = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
    of_slurm = {names[1]: "2,5"} if vendor == "AMD" else {names[2]: "2,5"}
    done = cluster.run("01-madengine-m.sbatch", SLURM_STEP_GPUS="2,5", **of_slurm)
    assert done.returncode == 0, done.stderr
    # The run takes the GPUs of the job; in its container they are the first ones.
    assert cluster.calls[-2:] == ["--gpus", "2,5"]
    assert {name: cluster.env()[name] for name in names if name in cluster.env()} == dict.fromkeys(
        expected, "0,1"
    )


def test_hosts_and_hostfile_of_launchers(site: Any, cluster: Cluster) -> None:
    """faults 5.8: given nodes whose names mean an address, their own loopback or nothing, when a job starts,
    then sglang-disagg gets addresses in the order of the nodes (a name only where there is none).
    """
    site.model("m", n_gpus="2", distributed={"launcher": "sglang-disagg", "nnodes": 3})
    site.model("d", n_gpus="2", distributed={"launcher": "deepspeed", "nnodes": 2})
    site.slurm({"slurm": {"enable_node_check": False}})
    assert cluster.run("01-madengine-m.sbatch", nodes=3).returncode == 0
    assert cluster.context(2)["docker_env_vars"]["SGLANG_NODE_IPS"] == "10.0.0.1,10.0.1.2,node3"
    assert cluster.context(2)["docker_env_vars"]["SGLANG_NODE_RANK"] == "2"
    assert cluster.run("02-madengine-d.sbatch", nodes=2).returncode == 0
    hostfile = cluster.context(1)["docker_mounts"]["/madengine/hostfile"]
    assert Path(hostfile).read_text() == "node1 slots=2\nnode2 slots=2\n"
    assert "--hostfile=/madengine/hostfile" in cluster.context(1)["docker_env_vars"]["MAD_MULTI_NODE_RUNNER"]


def test_failures(site: Any, cluster: Cluster) -> None:
    site.model("m", n_gpus="0").slurm()
    assert cluster.run("01-madengine-m.sbatch", STATUS="3").returncode == 3
    broken = cluster.run("01-madengine-m.sbatch", DOCKER="broken")
    assert broken.returncode == 1
    assert "no container engine answers" in broken.stderr
    wrong = cluster.run("01-madengine-m.sbatch", nodes=2)
    assert wrong.returncode == 1
    assert "the job has 2 nodes, 1 were asked for" in wrong.stderr
    site.slurm({"slurm": {"allow_submit_without_clean_nodes": True}})
    assert cluster.run("01-madengine-m.sbatch", DOCKER="broken").returncode == 0


def test_defect_21_all_models_are_submitted(site: Any, cluster: Cluster) -> None:
    """Defect 21: given a manifest with three models / when its jobs are submitted / then three jobs."""
    for name in ("a", "b", "c"):
        site.model(name, n_gpus="0")
    site.slurm({"slurm": {"output_dir": "logs"}})
    assert (site.out / "submit.sh").stat().st_mode & 0o111
    assert cluster.run("submit.sh").returncode == 0
    names = [f"0{number}-madengine-{name}.sbatch" for number, name in enumerate("abc", 1)]
    assert cluster.calls == [f"sbatch {name}" for name in names]
    assert (site.out / "logs").is_dir()


def test_defect_26_hostile_entries(site: Any, cluster: Cluster, tmp_path: Path) -> None:
    """Defect 26: given names, args and values with quotes and commands / when jobs are generated and run /
    then nothing of them runs on the host and no directive is added."""
    evil = f"'; touch {tmp_path}/hacked; $(touch {tmp_path}/hacked) \"\n#SBATCH --uid=0\n`id`"
    name = re.sub(r"[/:\n]", " ", evil)  # what the name of a model may hold
    site.model(name, n_gpus="0", args=evil, env_vars={"E": evil}, owner=evil, multiple_results=name[:40])
    site.slurm({"docker_env_vars": {"D": evil}})
    (script,) = site.out.glob("*.sbatch")
    assert cluster.run(script.name).returncode == 0
    assert not list(tmp_path.rglob("hacked"))
    assert set(directives(site, script.name)) == {
        *("job-name", "comment", "nodes", "ntasks", "ntasks-per-node", "time", "output", "error", "signal"),
        "exclusive",
    }
    assert cluster.context()["docker_env_vars"]["D"] == evil
    assert "#SBATCH --uid" not in script.read_text()


def test_slurm_multi(site: Any, cluster: Cluster) -> None:
    """Contract 16.3: the model's own script runs once, with its variables as text; no result is a failure."""
    evil = "it's $(id)"
    distributed = {
        "launcher": "slurm_multi",
        "nnodes": 2,
        "sglang_disagg": {"prefill_nodes": 1, "decode_nodes": 1},
    }
    site.environ["MAD_SECRETS_X"] = "xx-planted-secret"
    site.model("m", n_gpus="8", args="--n 3", env_vars={"E": evil}, distributed=distributed)
    script = site.root / "scripts/m0/run.sh"
    script.write_text(
        'printf "%s\\n" "$E" "$DOCKER_IMAGE_NAME" "$xP $yD" "$*" "$MAD_SECRETS_X" "${PWD##*/}" '
        '>"$RECORD.own"\n'
        "echo model >perf_x.csv\n"
    )
    site.slurm({"slurm": {"enable_node_check": False}})
    text = (site.out / "01-madengine-m.sbatch").read_text()
    assert "xx-planted-secret" not in text
    done = cluster.run("01-madengine-m.sbatch", nodes=2, MAD_SECRETS_X="from the job")
    assert done.returncode == 0, done.stderr
    digest = site.manifest["built_images"]["ci-m0_any"]["registry_digest"]
    image = f"registry.example.com:5000/ml/ci-m0_any@{digest}"
    own = Path(f"{cluster.record}.own").read_text().splitlines()
    assert own == [evil, image, "1 1", "--n 3", "from the job", "m0"]
    assert cluster.calls == [f"docker pull {image}"] * 2
    assert (site.out / "slurm_results/madengine-m/77/perf_x.csv").exists()
    script.write_text("true\n")
    assert cluster.run("01-madengine-m.sbatch", nodes=2, MAD_SECRETS_X="x", SLURM_JOB_ID="78").returncode == 1
    missing = cluster.run("01-madengine-m.sbatch", nodes=2)
    assert missing.returncode != 0
    assert "a secret of this model is missing" in missing.stderr


def test_images_without_a_registry_only_warn(site: Any) -> None:
    generated = site.model("m", n_gpus="0", image={"registry_image": None, "registry_digest": None}).slurm()
    assert any("no registry digest for m" in text for text in generated.warnings)


def test_a_launcher_that_needs_more_nodes(site: Any) -> None:
    site.model("m", distributed={"launcher": "sglang-disagg"})
    with pytest.raises(MadError, match="at least 2 nodes"):
        site.slurm()
