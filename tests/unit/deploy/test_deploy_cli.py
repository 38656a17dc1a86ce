"""The command ``generate`` with every spelling of its options, and its exit statuses (contract 19.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.cli.generate import generate_app
from typer.testing import CliRunner, Result


@pytest.fixture
def here(site: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the repository, whose manifest has one model."""
    for name in ("MODEL_DIR", "MAD_LAUNCHER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(site.root)
    site.model("m", n_gpus="1")
    site.path.write_text(json.dumps(site.manifest))
    return site.root


def run(*words: str) -> Result:
    return CliRunner().invoke(generate_app, list(words))


def test_defaults(here: Path) -> None:
    for kind, names in (
        ("k8s", ["k8s-madengine-configmap.yaml", "k8s-madengine-job.yaml"]),
        ("ansible", ["madengine_distributed.yml"]),
        ("slurm", ["slurm-setup/submit.sh", "slurm-setup/01-madengine-m.sbatch"]),
    ):
        done = run(kind)
        assert done.exit_code == 0, done.output
        for name in names:
            assert (here / name).is_file()
            assert name in done.output


@pytest.mark.parametrize(
    ("manifest", "environment"), [("--manifest-file", "-e"), ("-m", "--environment"), ("--manifest", "-e")]
)
@pytest.mark.parametrize(
    ("kind", "output", "written"),
    [
        *(("k8s", option, "x/k8s-madengine-job.yaml") for option in ("--output-dir", "-o")),
        *(("slurm", option, "x/submit.sh") for option in ("--output-dir", "--output", "-o")),
        *(("ansible", option, "x") for option in ("--output", "-o")),
    ],
)
def test_spellings(here: Path, kind: str, output: str, written: str, manifest: str, environment: str) -> None:
    (here / "build_manifest.json").rename(here / "other.json")
    done = run(kind, manifest, "other.json", environment, "night", output, "x")
    assert done.exit_code == 0, done.output
    files = [here / written] if (here / "x").is_file() else list((here / "x").iterdir())
    assert (here / written).is_file()
    assert any("night" in path.read_text() for path in files)


@pytest.mark.parametrize("option", ["--namespace", "-n"])
def test_namespace(here: Path, option: str) -> None:
    assert run("k8s", option, "bench").exit_code == 0
    assert "namespace: bench" in (here / "k8s-madengine-job.yaml").read_text()


@pytest.mark.parametrize("option", ["--additional-context", "-c", "--context"])
@pytest.mark.parametrize("file_option", ["--additional-context-file", "-f", "--context-file"])
def test_context(here: Path, option: str, file_option: str) -> None:
    """Both may be given; the string wins."""
    (here / "c.json").write_text('{"k8s": {"gpu_count": 2, "cpu": "3"}}')
    done = run("k8s", option, '{"k8s": {"gpu_count": 4}}', file_option, "c.json")
    assert done.exit_code == 0, done.output
    text = (here / "k8s-madengine-job.yaml").read_text()
    assert 'amd.com/gpu: "4"' in text
    assert 'cpu: "3"' in text


@pytest.mark.parametrize("option", ["--mad-root", "--root"])
def test_root(here: Path, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("slurm", "-m", str(here / "build_manifest.json"), option, str(here), "-o", "s").exit_code == 0
    assert f"mad_root={here}\n" in (tmp_path / "s/01-madengine-m.sbatch").read_text()


@pytest.mark.parametrize("kind", ["k8s", "ansible", "slurm"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "is not a file"),
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ("{}", "required keys are missing"),
        ('{"built_images": {}, "built_models": {}, "context": {}}', "has no models"),
    ],
)
def test_wrong_manifests(here: Path, kind: str, content: str | None, text: str) -> None:
    path = here / "build_manifest.json"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    before = sorted(here.rglob("*"))
    done = run(kind)
    assert done.exit_code == 4
    assert text in done.output
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize("kind", ["k8s", "ansible", "slurm"])
@pytest.mark.parametrize("context", ["{", "[1]", '{"gpu_vendor": "ACME"}'])
def test_wrong_contexts(here: Path, kind: str, context: str) -> None:
    assert run(kind, "-c", context).exit_code == 4


def test_wrong_words(here: Path) -> None:
    assert run("k8s", "--unknown").exit_code == 4
    assert run("helm").exit_code == 4
    shown = run()
    assert shown.exit_code == 0
    assert "slurm" in shown.output


def test_a_place_that_cannot_be_written(here: Path) -> None:
    (here / "file").write_text("")
    done = run("slurm", "-o", "file")
    assert done.exit_code == 4
    assert "cannot write" in done.output
