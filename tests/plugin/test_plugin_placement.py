"""Where a run belongs: a session that asks for a cluster does not run here (contract 16.1, 22.9)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def test_a_context_that_asks_for_a_cluster(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """faults 1.19: given such a context / run / exit 4; / build, collect, or in the job / done."""
    repo.model("m")
    words = ["--mad-tags=m", """--mad-context={"gpu_vendor": "CPU", "slurm": {"partition": "x"}}"""]
    refused = repo.run(*words)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*this command runs models on this host only*", "*madengine-cli generate*"])
    assert not repo.rows()
    assert repo.run(*words, "--collect-only").ret == 0
    built = repo.run(*words, "--mad-build-only", "--mad-manifest-out=m.json")
    assert built.ret == 0
    monkeypatch.setenv("MAD_IN_SLURM_JOB", "1")
    assert repo.run(*words).ret == 0


def test_a_manifest_that_asks_for_a_cluster(repo: Any) -> None:
    """faults 1.19: given a manifest whose target is a cluster / run / exit 4; our own say it."""
    repo.model("m")
    given = """--mad-context={"gpu_vendor": "CPU", "k8s": {}}"""
    repo.run("--mad-tags=m", given, "--mad-build-only", "--mad-manifest-out=m.json")
    manifest = json.loads((repo.path / "m.json").read_text())
    assert manifest["deployment_config"]["target"] == "kubernetes"
    for blocks in ({"target": "slurm"}, {"target": "local", "k8s": {"gpu_count": 1}}):
        (repo.path / "m.json").write_text(json.dumps({**manifest, "deployment_config": blocks}))
        refused = repo.run("--mad-manifest=m.json")
        assert refused.ret == pytest.ExitCode.USAGE_ERROR
        refused.stderr.fnmatch_lines(["*this command runs models on this host only*"])
        here = repo.run("--mad-manifest=m.json", '--mad-context={"deploy": "local"}', "--collect-only")
        assert here.ret == 0  # who says so on the command line runs here what was built for a cluster
    (repo.path / "m.json").write_text(json.dumps({**manifest, "deployment_config": {"target": "local"}}))
    assert repo.run("--mad-manifest=m.json").ret == 0
    # faults 5.8: the row of a run from a manifest names the Dockerfile of the build.
    (row,) = repo.rows()
    (image,) = manifest["built_images"].values()
    assert row["docker_file"] == image["dockerfile"] != ""


def test_models_that_are_no_single_container(repo: Any) -> None:
    """faults 1.19: given entries for several nodes or with slurm_multi / run / they fail, others run."""
    repo.model("good").model("two", distributed={"nnodes": 2}).model(
        "multi", distributed={"launcher": "slurm_multi"}
    )
    assert repo.run("--mad-tags=demo").ret == pytest.ExitCode.TESTS_FAILED
    assert repo.statuses() == {"good": "SUCCESS", "two": "FAILURE", "multi": "FAILURE"}
    reasons = {record["model"]: record["reason"] for record in repo.records()}
    assert "distributed.nnodes is 2" in reasons["two"]
    assert "slurm_multi" in reasons["multi"]


def test_too_few_file_descriptors(repo: Any) -> None:
    """faults 2.13: given 16 file descriptors / run / one line, exit 4."""
    repo.model("m")
    line = f'ulimit -n 16; exec "{sys.executable}" -m pytest -p no:cacheprovider --mad-tags=m'
    done = subprocess.run(["bash", "-c", line], cwd=repo.path, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "this process may open 16 files, and at least 64 are needed" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
