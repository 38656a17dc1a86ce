"""A small MAD repository and manifests of it, on a machine without engine, GPU and credentials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DIGEST = "sha256:" + "ab" * 32
REGISTRY = "registry.example.com:5000/ml"


class Site:
    """A repository, its manifest, and what is generated from it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out = root / "out"
        self.environ: dict[str, str] = {"HOME": "/home/user"}
        self.manifest: dict[str, Any] = {
            "schema_version": 3,
            "built_images": {},
            "built_models": {},
            "context": {"gpu_vendor": "AMD"},
        }
        (root / "scripts").mkdir(parents=True)
        (root / "models.json").write_text("[]")

    @property
    def path(self) -> Path:
        return self.root / "build_manifest.json"

    def model(self, name: str, *, image: dict[str, Any] | None = None, **fields: Any) -> Site:
        """Adds a model with a script of its own."""
        number = len(self.manifest["built_images"])
        directory = self.root / f"scripts/m{number}"
        directory.mkdir()
        (directory / "run.sh").write_text("echo performance: 1 s\n")
        key = f"ci-m{number}_any"
        block = {
            "model": name,
            "docker_image": key,
            "dockerfile": f"docker/m{number}.ubuntu.Dockerfile",
            "registry_image": f"{REGISTRY}/{key}:tag",
            "registry_digest": DIGEST,
            "gpu_vendor": "",
            **(image or {}),
        }
        entry = {"name": name, "dockerfile": f"docker/m{number}", "scripts": f"scripts/m{number}/run.sh"}
        self.manifest["built_images"][key] = {k: v for k, v in block.items() if v is not None}
        self.manifest["built_models"][key] = {**entry, "madengine_params": {}, **fields}
        return self

    def _options(self, context: dict[str, Any] | None, **options: Any) -> dict[str, Any]:
        self.path.write_text(json.dumps(self.manifest))
        text = json.dumps(context) if context else ""
        return {"root": self.root, "environ": self.environ, "context": text, **options}

    def k8s(self, context: dict[str, Any] | None = None, **options: Any) -> Any:
        from pytest_madengine.generate.common import generate_k8s

        return generate_k8s(self.path, self.out, **self._options(context, **options))

    def slurm(self, context: dict[str, Any] | None = None, **options: Any) -> Any:
        from pytest_madengine.generate.common import generate_slurm

        return generate_slurm(self.path, self.out, **self._options(context, **options))

    def ansible(self, context: dict[str, Any] | None = None, **options: Any) -> Any:
        from pytest_madengine.generate.common import generate_ansible

        return generate_ansible(self.path, self.out / "play.yml", **self._options(context, **options))

    def documents(self, name: str = "k8s-madengine-job.yaml") -> list[dict[str, Any]]:
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        return list(yaml.load_all((self.out / name).read_text(), loader))

    def one(self, kind: str, name: str | None = None) -> dict[str, Any]:
        """The object of a kind."""
        both = [*self.documents(), *self.documents("k8s-madengine-configmap.yaml")]
        found = [one for one in both if one["kind"] == kind and name in (None, one["metadata"]["name"])]
        assert len(found) == 1, [one["metadata"]["name"] for one in both]
        return found[0]

    def pod(self, name: str = "madengine-job") -> dict[str, Any]:
        pod: dict[str, Any] = self.one("Job", name)["spec"]["template"]["spec"]
        return pod

    def container(self, name: str = "madengine-job") -> dict[str, Any]:
        (container,) = self.pod(name)["containers"]
        return dict(container)

    def env(self, name: str = "madengine-job") -> dict[str, Any]:
        """Variable -> value, or ``valueFrom``."""
        entries = self.container(name)["env"]
        assert len({entry["name"] for entry in entries}) == len(entries)
        return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def new_site(root: Path) -> Site:
    """A repository without models."""
    return Site(root)
