"""The pod of a generated Job in a real container: its image, command, environment and volumes as rendered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from session_support import wait_until

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
BIN = Path(sys.executable).parent


class Node:
    """Does what a kubelet does with the first container of a Job, with the image of the tests."""

    def __init__(self, client: DockerClient, image: str, directory: Path) -> None:
        self.client, self.image, self.directory = client, image, directory
        self.containers: list[Any] = []
        self.root = directory / "mad"
        (self.root / "scripts/m").mkdir(parents=True)

    def generate(self, script: str, context: dict[str, Any] | None = None, **fields: Any) -> None:
        (self.root / "scripts/m/run.sh").write_text(script)
        entry = {
            "name": "m",
            "dockerfile": "docker/m",
            "scripts": "scripts/m/run.sh",
            "n_gpus": "0",
            **fields,
        }
        image = {
            "docker_image": "ci-m",
            "registry_image": "r.example.com/ci-m",
            "registry_digest": f"sha256:{'a' * 64}",
        }
        manifest = {"built_images": {"ci-m": image}, "built_models": {"ci-m": entry}, "schema_version": 3}
        manifest["context"] = {"docker_env_vars": {"HUB": {"from_env": "HF_TOKEN"}}}
        (self.root / "build_manifest.json").write_text(json.dumps(manifest))
        command = [BIN / "madengine-cli", "generate", "k8s", "-o", "k8s", "-c", json.dumps(context or {})]
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAD_", "MODEL_DIR"))
        }
        done = subprocess.run(
            command, cwd=self.root, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def documents(self, name: str) -> list[dict[str, Any]]:
        return list(yaml.safe_load_all((self.root / f"k8s/k8s-madengine-{name}.yaml").read_text()))

    def start(self, secrets: dict[str, str]) -> Any:
        (job,) = [one for one in self.documents("job") if one["kind"] == "Job"]
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        places = {"workspace": self.directory / "workspace", "results": self.directory / "results"}
        places["config"] = self._config(next(one for one in pod["volumes"] if one["name"] == "config"))
        binds = {}
        for mount in container["volumeMounts"]:
            if mount["name"] in places:
                places[mount["name"]].mkdir(exist_ok=True)
                mode = "ro" if mount.get("readOnly") else "rw"
                binds[str(places[mount["name"]])] = {"bind": mount["mountPath"], "mode": mode}
        env = {}
        for entry in container["env"]:
            source = entry.get("valueFrom", {})
            if "secretKeyRef" in source:
                env[entry["name"]] = secrets[source["secretKeyRef"]["key"]]
            elif "fieldRef" in source:
                env[entry["name"]] = {"metadata.name": "pod-1"}.get(source["fieldRef"]["fieldPath"], "x")
            else:
                env[entry["name"]] = entry["value"].replace("$$", "$")
        made = self.client.containers.run(
            self.image, entrypoint=container["command"], environment=env, volumes=binds, detach=True
        )
        self.containers.append(made)
        return made

    def _config(self, volume: dict[str, Any]) -> Path:
        """The volume of the ConfigMap as kubelets make it: links to a directory that can be exchanged."""
        directory = self.directory / "config"
        (config,) = [one for one in self.documents("configmap") if one["kind"] == "ConfigMap"]
        for item in volume["configMap"]["items"]:
            path = directory / "..2026" / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(config["data"][item["key"]])
            path.chmod(item.get("mode", 0o644))
        (directory / "..data").symlink_to("..2026")
        for name in ("tree", "control"):
            (directory / name).symlink_to(f"..data/{name}")
        return directory

    def files(self) -> dict[str, str]:
        place = self.directory / "results/madengine-job/pod-1"
        return {
            path.relative_to(place).as_posix(): path.read_text()
            for path in place.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def node(docker_client: DockerClient, tiny_image: str, tmp_path: Path) -> Iterator[Node]:
    made = Node(docker_client, tiny_image, tmp_path)
    yield made
    for container in made.containers:
        container.remove(force=True)


def test_a_model_runs_and_leaves_its_results(node: Node) -> None:
    node.generate(
        'echo "in $PWD as $$: $*; $OTHER; ${#HUB}"; ls ../scripts/common/tools/rocenv; touch results_1.csv; '
        "echo performance: 5 sps",
        {"docker_env_vars": {"OTHER": "$(HOME) is 'text'"}, "env_vars": {"A": "b"}},
        args='--x "1 2"',
    )
    container = node.start({"HUB": "hf-secret-value"})
    assert container.wait(timeout=60)["StatusCode"] == 0, container.logs().decode()
    log = container.logs().decode()
    assert "in /myworkspace/run_directory as " in log
    assert ": --x 1 2; $(HOME) is 'text'; 15" in log
    assert "core.sh" in log
    files = node.files()
    assert {"results_1.csv", "exit_status", "events"} <= set(files)
    (run_log,) = [text for name, text in files.items() if name.endswith(".run.live.log")]
    assert "performance: 5 sps" in run_log
    assert "m_env.csv" in files  # the environment collector ran


def test_a_failing_model_and_its_exit_status(node: Node) -> None:
    """Defect 68: the real exit status is kept and artifacts are copied."""
    node.generate("touch results_part.csv; exit 37")
    container = node.start({"HUB": "x"})
    assert container.wait(timeout=60)["StatusCode"] == 37
    assert node.files()["exit_status"] == "37\n"
    assert "results_part.csv" in node.files()


def test_a_deleted_pod_ends_its_model_and_saves_results(node: Node) -> None:
    node.generate("touch results_part.csv; echo ready; sleep 1000 & wait")
    container = node.start({"HUB": "x"})
    wait_until(lambda: b"ready" in container.logs(), "the model runs")
    container.stop(timeout=30)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 143
    assert "results_part.csv" in node.files()
