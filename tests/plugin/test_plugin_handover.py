"""Build phase and run phase as pytest runs: items, manifests, summaries, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

SCHEMA = Path(__file__).parents[2] / "docs/reference/build_manifest.schema.json"
M = "--mad-manifest=build_manifest.json"


def manifest(repo: Any, name: str = "build_manifest.json") -> dict[str, Any]:
    """The manifest of a repository, once it conforms to the published schema."""
    content: dict[str, Any] = json.loads((repo.path / name).read_text())
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(content)
    return content


def build(repo: Any, *args: str) -> dict[str, Any]:
    """Runs a build phase that succeeds."""
    result = repo.run("--mad-build-only", *args)
    assert result.ret == 0, result.stdout.str()
    return manifest(repo)


def change(repo: Any, **blocks: Any) -> None:
    """Changes fields of every image block of the manifest."""
    path = repo.path / "build_manifest.json"
    content = json.loads(path.read_text())
    for block in content["built_images"].values():
        block.update(blocks)
    path.write_text(json.dumps(content))


def test_a_build_phase_runs_nothing(repo: Any) -> None:
    repo.model("a", "touch $ROOT_MARK").model("b")
    result = repo.run("--mad-tags=demo", "--mad-build-only", "-rA")
    result.assert_outcomes(passed=2)
    content = manifest(repo)
    assert list(content["built_images"]) == ["ci-a_any", "ci-b_any"]
    assert content["built_models"]["ci-a_any"]["name"] == "a"
    assert content["generator"]["name"] == "pytest-madengine"
    assert repo.rows() == []
    assert [record["reason"] for record in repo.records()] == ["built", "built"]
    result.stdout.fnmatch_lines(["manifest: *build_manifest.json"])


def test_image_blocks_of_workers_reach_the_manifest(repo: Any) -> None:
    for number in range(6):
        repo.model(f"m{number}")
    build(repo, "--mad-tags=demo", "-n2")
    assert list(manifest(repo)["built_images"]) == [f"ci-m{number}_any" for number in range(6)]
    result = repo.run(M, "-n2")
    result.assert_outcomes(passed=6)
    assert set(repo.statuses().values()) == {"SUCCESS"}


def test_defect_5_two_parametrisations(repo: Any) -> None:
    """Defect 5: given ``m:bs=1,m:bs=2`` / when built and run / then two items, two entries, two rows."""
    repo.model("m", 'echo "$bs $*"; echo performance: $bs sps')
    content = build(repo, "--mad-tags=m:bs=1,m:bs=2")
    assert list(content["built_images"]) == ["ci-m_any", "ci-m_any[bs=2]"]
    assert [entry["args"] for entry in content["built_models"].values()] == [" --bs 1", " --bs 2"]
    result = repo.run(M, "-v")
    result.assert_outcomes(passed=2)
    # Node ids are those of a run without a manifest.
    result.stdout.fnmatch_lines(["models.json::m[[]bs=1[]]*", "models.json::m[[]bs=2[]]*"])
    assert [(row["args"], row["performance"]) for row in repo.rows()] == [(" --bs 1", "1"), (" --bs 2", "2")]


def test_tags_filter_the_manifest(repo: Any) -> None:
    """Contract 9.3: the grammar of section 5; no match exits 4."""
    repo.model("a", tags=["x"]).model("b", tags=["y"]).model("c:d".replace(":", "_"), tags=["y"])
    build(repo, "--mad-tags=x,y")
    assert repo.run(M, "--mad-tags=y").parseoutcomes() == {"passed": 2}
    assert repo.run(M, "--mad-tags=b:bs=4").parseoutcomes() == {"passed": 1}
    assert repo.rows()[-1]["args"] == " --bs 4"
    nothing = repo.run(M, "--mad-tags=aa")
    assert nothing.ret == 4
    nothing.stderr.fnmatch_lines(["*No models found corresponding to the given tag: aa*close matches: a*"])


def test_parameters_pick_what_was_built_with_them(repo: Any) -> None:
    repo.model("m", "echo performance: $bs sps")
    build(repo, "--mad-tags=m:bs=1,m:bs=2")
    assert repo.run(M, "--mad-tags=m:bs=2").parseoutcomes() == {"passed": 1}
    assert repo.rows()[0]["args"] == " --bs 2"
    other = repo.run(M, "--mad-tags=m:bs=3")
    assert other.ret == 4
    other.stderr.fnmatch_lines(["*m:bs=3 (the manifest has m[[]bs=1[]], m[[]bs=2[]])*"])


def test_a_manifest_runs_where_models_json_is_missing(repo: Any) -> None:
    """Items are then collected under the manifest."""
    repo.model("a")
    build(repo, "--mad-tags=a")
    (repo.path / "models.json").unlink()
    result = repo.run(M, "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["build_manifest.json::a PASSED*"])
    assert repo.statuses() == {"a": "SUCCESS"}


@pytest.mark.parametrize("tags", [True, False])
def test_a_manifest_that_is_missing(repo: Any, tags: bool) -> None:
    """Contract 9.3: with tags a warning and the full workflow, without exit 4."""
    repo.model("a")
    result = repo.run(M, *(["--mad-tags=a"] if tags else []))
    if tags:
        result.assert_outcomes(passed=1, warnings=1)
        result.stdout.fnmatch_lines(["*build_manifest.json: it is not there: everything is built*"])
    else:
        assert result.ret == 4
        result.stderr.fnmatch_lines(["*build_manifest.json is not a file*"])


def test_defect_45_context_of_the_manifest(repo: Any) -> None:
    """Defect 45: given a manifest built with env / when run without, then with context / then it is
    applied, and the command line wins."""
    repo.model("a", "echo performance: $N sps")
    content = build(repo, "--mad-tags=a", '--mad-context={"docker_env_vars": {"N": "3"}, "docker_gpus": "0"}')
    assert content["context"]["docker_env_vars"] == {"N": "3"}
    assert content["context"]["docker_gpus"] == "0"
    repo.run(M)
    repo.run(M, '--mad-context={"docker_env_vars": {"N": "4"}}')
    assert [row["performance"] for row in repo.rows()] == ["3", "4"]
    assert json.loads((repo.path / "build_manifest.json").read_text()) == content  # defect 18


def test_variables_of_the_host_that_runs(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """faults 5.6: given a text that names a variable, when it is built on one host and run on another, then
    the manifest has the text, the run the value of its host; where there is none, the model fails by name.
    """
    monkeypatch.setenv("RATE", "1")
    repo.model("m", "echo performance: $SPEED sps", env_vars={"SPEED": "${RATE}.5"})
    content = build(repo, "--mad-tags=demo")
    assert content["built_models"]["ci-m_any"]["env_vars"] == {"SPEED": "${RATE}.5"}
    monkeypatch.setenv("RATE", "7")
    assert repo.run(M).ret == 0
    assert repo.rows()[-1]["performance"] == "7.5"
    monkeypatch.delenv("RATE")
    assert repo.run(M).ret == 1
    assert "RATE, which is not set on this host" in repo.records()[-1]["reason"]


def test_defect_31_secrets_are_references(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Defect 31: given secrets in context, entry and environment / when built and run / then the manifest
    holds references, which are resolved again; a missing one is a failure that names it."""
    monkeypatch.setenv("MAD_SECRETS_X", "xx-secret-1")
    monkeypatch.setenv("HF_TOKEN", "hf-secret-22")
    repo.model("a", "test $TOK = hf-secret-22 && test $MAD_SECRETS_X = xx-secret-1 && echo performance: 1 s")
    repo.model(
        "b", "test $API_TOKEN = hf-secret-22 && echo performance: 1 s", env_vars={"API_TOKEN": "hf-secret-22"}
    )
    summary = "--mad-build-summary=s.json"
    build(repo, "--mad-tags=demo", '--mad-context={"docker_env_vars": {"TOK": "hf-secret-22"}}', summary)
    monkeypatch.setenv("TOK", "hf-secret-22")
    content = build(
        repo, "--mad-tags=demo", '--mad-context={"docker_env_vars": {"TOK": "hf-secret-22"}}', summary
    )
    for name in ("build_manifest.json", "s.json"):
        assert "secret-" not in (repo.path / name).read_text()
    assert content["context"]["docker_env_vars"]["MAD_SECRETS_X"] == {"from_env": "MAD_SECRETS_X"}
    assert content["built_models"]["ci-b_any"]["env_vars"] == {"API_TOKEN": {"from_env": "HF_TOKEN"}}
    assert repo.run(M, "-n2").parseoutcomes() == {"passed": 2}
    monkeypatch.delenv("HF_TOKEN")
    result = repo.run(M)
    assert result.ret == 1
    last = {row["model"]: row["status"] for row in repo.rows()}
    assert last["b"] == "FAILURE"
    reasons = [record["reason"] for record in repo.records() if record["model"] == "b"]
    assert (
        reasons[-1] == "model b.env_vars.API_TOKEN needs the environment variable HF_TOKEN, which is not set"
    )
    for path in (repo.path / "mad-results").rglob("*.json*"):
        assert "secret-" not in path.read_text(), path


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"gpu_vendor": "NVIDIA"}, "image was built for NVIDIA, host has AMD"),
        ({"gpu_architecture": "gfx90a"}, "image was built for gfx90a, host has gfx942"),
        ({"gpu_vendor": "amd", "gpu_architecture": "gfx942"}, ""),
    ],
)
def test_images_for_other_hosts(repo: Any, block: dict[str, str], reason: str) -> None:
    """Contract 9.3, compatibility: SKIPPED with reason and row."""
    repo.model("a")
    build(repo, "--mad-tags=a")
    change(repo, **block)
    repo.run(M, "--mad-simulate-gpus=2:gfx942")
    assert repo.statuses() == {"a": "SKIPPED" if reason else "SUCCESS"}
    assert repo.records()[-1]["reason"] == reason


def test_entries_without_model_or_image(repo: Any) -> None:
    """Contract 9.3: an image without model block, and a build that failed, are FAILURE rows."""
    repo.model("a")
    content = build(repo, "--mad-tags=a")
    content["built_images"]["ci-lost"] = {**content["built_images"]["ci-a_any"], "model": "lost"}
    content["built_images"]["ci-odd"] = {**content["built_images"]["ci-a_any"], "model": "odd"}
    content["built_models"]["ci-odd"] = {"name": "odd", "n_gpus": []}
    content["summary"]["failed_builds"] = [{"model": "gone", "item": "gone", "error": "exit 3"}]
    (repo.path / "build_manifest.json").write_text(json.dumps(content))
    result = repo.run(M)
    assert result.ret == 1
    assert repo.statuses() == {"a": "SUCCESS", "lost": "FAILURE", "odd": "FAILURE", "gone": "FAILURE"}
    reasons = {record["model"]: record["reason"] for record in repo.records()}
    assert "image ci-lost has no model in built_models" in reasons["lost"]
    assert reasons["gone"] == "the image was not built: exit 3"


def test_target_architectures(repo: Any) -> None:
    """Contract 8.3, ``--mad-target-archs``: one item each, and each runs on its hosts only."""
    repo.model("a")
    result = repo.run("--mad-tags=a", "--mad-build-only", "--mad-target-archs=gfx90a,gfx942", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["models.json::a[[]gfx90a[]]*", "models.json::a[[]gfx942[]]*"])
    blocks = list(manifest(repo)["built_images"].values())
    assert [block["gpu_architecture"] for block in blocks] == ["gfx90a", "gfx942"]
    repo.run(M, "--mad-simulate-gpus=1:gfx942")
    outcomes = {
        record["item_id"]: record["outcome"] for record in repo.records() if record["lease"].get("gpus") == []
    }
    assert outcomes["a[gfx90a]"] == "SKIPPED"
    assert outcomes["a[gfx942]"] == "SUCCESS"


def test_models_that_need_gpus_are_built_without_any(repo: Any) -> None:
    """Defect 66: a build host needs no GPU; a deprecated model is still skipped, with a row."""
    repo.model("a", n_gpus="4").model("old", deprecated=True)
    result = repo.run("--mad-tags=demo", "--mad-build-only")
    result.assert_outcomes(passed=1, skipped=1)
    assert list(manifest(repo)["built_images"]) == ["ci-a_any"]
    assert repo.statuses() == {"old": "SKIPPED"}


def test_a_build_that_fails(repo: Any) -> None:
    """Contract 9.2: it is in ``summary.failed_builds`` and has a row."""
    repo.model("a").model("b", dockerfile="docker/none")
    result = repo.run("--mad-tags=demo", "--mad-build-only", "--mad-build-summary=s.json")
    result.assert_outcomes(passed=1, errors=1)
    assert repo.statuses() == {"b": "FAILURE"}
    (failed,) = manifest(repo)["summary"]["failed_builds"]
    assert (failed["model"], failed["error"]) == ("b", "no Dockerfile matches docker/none.*")
    assert json.loads((repo.path / "s.json").read_text()) == manifest(repo)["summary"]


def test_summaries(repo: Any) -> None:
    """Contract 19.2, ``summary file``."""
    repo.model("good").model("bad", "exit 3").model("old", deprecated=True)
    repo.run("--mad-tags=demo", "--mad-run-summary=r.json")
    run = json.loads((repo.path / "r.json").read_text())
    assert [
        [entry["model"] for entry in run[f"{kind}_runs"]] for kind in ("successful", "failed", "skipped")
    ] == [
        ["good"],
        ["bad"],
        ["old"],
    ]
    assert run["total_execution_time"] >= 0
    assert run["failed_runs"][0]["reason"] == "script exited with 3"
    repo.run("--mad-tags=demo", "--mad-run-summary=x.json", "--mad-build-summary=x.json")
    both = json.loads((repo.path / "x.json").read_text())
    assert set(both) == {"build_phase", "run_phase", "overall_success"}
    assert both["overall_success"] is False
    assert len(both["build_phase"]["successful_builds"]) == 2


def test_summaries_of_a_session_that_was_cut_short(repo: Any) -> None:
    """Contract 19.2: written also when the run aborts; what was not built is not taken for built."""
    repo.model("a").model("b").model("c")
    (repo.path / "conftest.py").write_text(
        (repo.path / "conftest.py").read_text()
        + "\n@pytest.hookimpl(tryfirst=True)\ndef pytest_runtest_setup(item):\n"
        + "    if item.name == 'b':\n        raise KeyboardInterrupt\n"
    )
    result = repo.run("--mad-tags=demo", "--mad-build-only", "--mad-run-summary=r.json", subprocess=True)
    assert result.ret == 2
    run = json.loads((repo.path / "r.json").read_text())
    assert [len(run[f"{kind}_runs"]) for kind in ("successful", "failed", "skipped")] == [1, 1, 1]
    content = manifest(repo)
    assert list(content["built_images"]) == ["ci-a_any"]
    errors = [failed["error"] for failed in content["summary"]["failed_builds"]]
    assert errors[0] == "interrupted"
    assert errors[1].startswith("not run: ")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--mad-tags=a", "--mad-batch-manifest=b.json"], "--mad-batch-manifest and --mad-tags exclude"),
        ([M, "--mad-batch-manifest=b.json"], "--mad-batch-manifest and --mad-manifest exclude"),
        (["--mad-tags=a", "--mad-use-image=x", "--mad-registry=h:1"], "--mad-use-image and --mad-registry"),
        (["--mad-tags=a", "--mad-use-image=x", M], "--mad-use-image and --mad-manifest exclude"),
        ([M, "--mad-build-only"], "--mad-build-only and --mad-manifest exclude"),
        (["--mad-tags=a", "--mad-require-pinned"], "--mad-require-pinned compares with a manifest"),
        (["--mad-tags=a", "--mad-registry=https://x.io"], "'https://x.io' is not a registry"),
        (["--mad-tags=a", "--mad-use-image=UPPER CASE"], "not a valid image name"),
        (["--mad-tags=a", "--mad-use-image=auto"], "no image in env_vars.DOCKER_IMAGE_NAME of a"),
        (["--mad-batch-manifest=none.json"], "No such file"),
    ],
)
def test_what_excludes_each_other(repo: Any, args: list[str], message: str) -> None:
    """Contract 9.3, 19.2: usage errors, exit 4, nothing runs."""
    repo.model("a")
    (repo.path / "build_manifest.json").write_text('{"built_images": {}, "built_models": {}, "context": {}}')
    result = repo.run(*args)
    assert result.ret == 4
    assert message in result.stderr.str()


def test_an_empty_manifest(repo: Any) -> None:
    (repo.path / "build_manifest.json").write_text('{"built_images": {}, "built_models": {}, "context": {}}')
    repo.model("a")
    result = repo.run(M)
    assert result.ret == 4
    assert "has no models" in result.stderr.str()


def test_a_given_image(repo: Any) -> None:
    """``--mad-use-image``: one item per model, whatever its Dockerfiles; the key is the model name."""
    repo.model("a", dockerfile="docker/none")
    result = repo.run("--mad-tags=a", "--mad-build-only", "--mad-use-image=busybox:1")
    result.assert_outcomes(passed=1)
    content = manifest(repo)
    assert list(content["built_images"]) == ["a"]
    assert content["local_image_name"] == "busybox:1"
    local = repo.run("--mad-tags=a", "--mad-build-only", '--mad-context={"MAD_CONTAINER_IMAGE": "busybox"}')
    local.assert_outcomes(passed=1)
    assert list(manifest(repo)["built_images"]) == ["local-a"]
    assert repo.run(M).parseoutcomes() == {"passed": 1}


def test_batch_manifest(repo: Any) -> None:
    """Contract 9.3: models with ``build_new`` false are listed without building."""
    repo.model("a").model("b").model("c")
    entries = [
        {"model_name": "a", "build_new": True},
        {"model_name": "b", "registry": "r.io", "registry_image": "r.io/team/b:1"},
    ]
    (repo.path / "batch.json").write_text(json.dumps(entries))
    result = repo.run("--mad-batch-manifest=batch.json", "--mad-build-only", "-n2")
    result.assert_outcomes(passed=2)
    blocks = manifest(repo)["built_images"]
    assert {name: block["build_status"] for name, block in blocks.items()} == {
        "ci-a_any": "SUCCESS",
        "ci-b_any": "SKIPPED",
    }
    assert blocks["ci-b_any"]["registry_image"] == "r.io/team/b:1"
    assert [entry["model"] for entry in manifest(repo)["summary"]["successful_builds"]] == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "[1]",
        "[{}]",
        '[{"model_name": " "}]',
        '[{"model_name": "a", "build_new": "yes"}]',
        "[",
        '[{"model_name": "a"}, {"model_name": "a"}]',
        '[{"model_name": "a", "registry": 1}]',
    ],
)
def test_wrong_batch_manifests(repo: Any, text: str) -> None:
    repo.model("a")
    (repo.path / "batch.json").write_text(text)
    result = repo.run("--mad-batch-manifest=batch.json")
    assert result.ret == 4
    assert "batch.json" in result.stderr.str()
