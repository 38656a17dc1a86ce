"""Plans and MAD roots made by hand for the end-to-end tests of the executor."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_madengine.executors.docker.executor import DockerExecutor
from pytest_madengine.plan.runplan import (
    DockerOptions,
    EnvValue,
    Image,
    Lease,
    RunPlan,
    RunScript,
    Workspace,
)
from pytest_madengine.results.result import RunResult
from pytest_madengine.secrets import Redactor, Secret
from pytest_madengine.settings import PhaseTimeouts

if TYPE_CHECKING:
    from docker import DockerClient

MODEL_LABEL = "pytest-madengine.model"


def make_root(directory: Path, **scripts: str) -> Path:
    """A MAD root with one script directory ``scripts/m``; keyword ``run`` makes ``run.sh``."""
    root = directory / "mad"
    (root / "scripts/m").mkdir(parents=True)
    (root / "docker").mkdir()
    (root / "models.json").write_text("[]")
    (root / "credential.json").write_text('{"TOKEN": {"password": "do-not-mount-me"}}')
    for name, text in {"run": "echo 'performance: 5 sps'\n", **scripts}.items():
        (root / f"scripts/m/{name}.sh").write_text(text)
    return root


def make_plan(root: Path, image: str | Image, *, run_line: str = "bash run.sh", **changes: Any) -> RunPlan:
    """A plan; ``script``, ``options`` and ``workspace`` take dictionaries of changed fields."""
    script = {
        "model_dir": "/myworkspace/run_directory",
        "script_dir": "scripts/m",
        "run_line": run_line,
        "owner": (0, 0),
        **changes.pop("script", {}),
    }
    env = {
        name: value if isinstance(value, EnvValue) else EnvValue(value, "test")
        for name, value in changes.pop("env", {}).items()
    }
    run_id = secrets.token_hex(4)
    values: dict[str, Any] = {
        "run_id": run_id,
        "item_id": "models.json::m",
        "model": "m",
        "parameters": (),
        "image": Image(image) if isinstance(image, str) else image,
        "container_name": f"container_mad-test_{run_id}",
        "log_name": "m_m.ubuntu",
        "script": RunScript(**script),
        "workspace": Workspace(str(root), **changes.pop("workspace", {})),
        "env": env,
        "mounts": (),
        "options": DockerOptions(**changes.pop("options", {})),
        "timeouts": PhaseTimeouts(prepare=60, run=60, collect=60),
        "labels": {MODEL_LABEL: "m", "pytest-madengine.run-id": run_id},
        "lease": Lease(),
    }
    return RunPlan(**{**values, **changes})


@dataclass
class Bench:
    """An executor over directories of one test."""

    client: DockerClient
    image: str
    directory: Path
    redactor: Redactor = field(default_factory=Redactor)

    def __post_init__(self) -> None:
        self.common = self.directory / "builtin"
        (self.common / "pre_scripts").mkdir(parents=True)
        (self.common / "pre_scripts/builtin.sh").write_text("echo builtin pre-script\n")
        self.workspaces = self.directory / "workspaces"
        self.artifacts = self.directory / "artifacts"

    @contextmanager
    def executor(self) -> Iterator[DockerExecutor]:
        with DockerExecutor(lambda: self.client, self.redactor, self.workspaces, self.common) as executor:
            yield executor

    def root(self, **scripts: str) -> Path:
        return make_root(self.directory, **scripts)

    def plan(self, root: Path, **changes: Any) -> RunPlan:
        return make_plan(root, **{"image": self.image, **changes})

    def run(self, plan: RunPlan, **options: Any) -> RunResult:
        """Runs the plan and checks that nothing of it is left."""
        with self.executor() as executor:
            result = executor.run(plan, self.artifacts, **options)
            if not result.kept_container:
                assert self.containers(plan) == []
        if not result.kept_container:
            assert not self.workspaces.exists()
        return result

    def containers(self, plan: RunPlan) -> list[str]:
        label = f"pytest-madengine.run-id={plan.run_id}"
        return [entry["Id"] for entry in self.client.api.containers(all=True, filters={"label": [label]})]

    def log(self, plan: RunPlan) -> str:
        return (self.artifacts / f"{plan.log_name}.run.live.log").read_text()


def secret(value: str) -> EnvValue:
    return EnvValue(Secret(value), "test")


def with_script(plan: RunPlan, **changes: Any) -> RunPlan:
    return dataclasses.replace(plan, script=dataclasses.replace(plan.script, **changes))
