"""The commands that run models or look at them, as a user types them, with bash in place of containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODULES = {
    "madengine": "pytest_madengine",
    "madengine-cli": "madengine.distributed_cli",
}


def call(repo: Any, *args: str, program: str = "madengine", **environment: str) -> Any:
    """One command in the repository, in a process of its own."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", MODULES[program], *args],
        cwd=repo.path,
        env={**environ, "COLUMNS": "200", "TERM": "dumb", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("program", ["madengine", "madengine-cli"])
def test_run_ends_with_the_status_of_the_contract(repo: Any, program: str) -> None:
    """Defect 46: given a good and a failing model / run / 0 for the one, 3 with the other; a row for each."""
    repo.model("good", "echo performance: 5 sps").model("bad", "exit 7")
    good = call(repo, "run", "--tags", "good", program=program)
    assert (good.returncode, repo.statuses()) == (0, {"good": "SUCCESS"})
    assert "1 models: 1 SUCCESS" in good.stdout
    assert "5   sps" in good.stdout
    both = call(repo, "run", "--tags", "good", "bad", program=program)
    assert (both.returncode, repo.statuses()) == (3, {"good": "SUCCESS", "bad": "FAILURE"})
    assert "script exited with 7" in both.stdout
    for heading in ("2 models of", "Results", "Phases", "table: "):
        assert heading in both.stdout


def test_a_skipped_model_is_no_failure(repo: Any) -> None:
    repo.model("old", is_deprecated=True)
    assert call(repo, "run", "--tags", "old").returncode == 0
    assert repo.statuses() == {"old": "SKIPPED"}
    assert call(repo, "run", "--tags", "old", "--ignore-deprecated-flag").returncode == 0
    assert repo.rows()[-1]["status"] == "SUCCESS"


def test_models_that_no_gpu_here_could_run_are_no_success(repo: Any) -> None:
    """faults 1.17: given a host without GPU / models that need one are run / 3, with the option 0."""
    repo.model("big", n_gpus="8")
    done = call(repo, "run", "--tags", "big")
    assert (done.returncode, repo.statuses()) == (3, {"big": "SKIPPED"}), done.stderr
    assert call(repo, "run", "--tags", "big", "--allow-no-hardware").returncode == 0


def test_a_root_somewhere_else(repo: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """faults 1.3: given a repository elsewhere / by ``MODEL_DIR`` or ``--root`` / it has its record."""
    repo.model("m")
    here = tmp_path_factory.mktemp("here")
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    ways = (([], {"MODEL_DIR": str(repo.path)}), (["--root", str(repo.path)], {}))
    for number, (words, more) in enumerate(ways, 1):
        done = subprocess.run(
            [sys.executable, "-m", MODULES["madengine"], "run", "--tags", "m", *words],
            cwd=here,
            env={**environ, **more, "COLUMNS": "200", "TERM": "dumb"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [
            json.loads(line)
            for path in sorted((here / "mad-results").glob("*/records.jsonl"))
            for line in path.read_text().splitlines()
        ]
        assert [one["item_id"] for one in lines] == ["m"] * number


def test_an_unknown_tag_is_no_build_failure(repo: Any) -> None:
    """Defect 19: given an unknown tag / run / exit 4 with close matches and no docker advice."""
    repo.model("dummy")
    done = call(repo, "run", "--tags", "dumy")
    assert done.returncode == 4
    assert "No models found corresponding to the given tag: dumy" in done.stdout + done.stderr
    assert "dummy" in done.stdout + done.stderr
    assert "docker" not in (done.stdout + done.stderr).lower()


def test_options_of_a_run(repo: Any) -> None:
    """Defects 17 and 44: given the options of a run / run / each works as documented, as ``--mad-*`` does."""
    repo.model("m", "echo $MARK $TOOL; echo performance: 1 sps", skip_gpu_arch="gfx942")
    (repo.path / "ctx.json").write_text(json.dumps({"docker_env_vars": {"MARK": "from-file"}}))
    tools = {"tools": {"t": {"env_vars": {"TOOL": "tooled"}}}}
    (repo.path / "my-tools.json").write_text(json.dumps(tools))
    done = call(
        repo,
        *("run", "-t", "m", "-f", "ctx.json", "-c", "{'tools': [{'name': 't'}]}"),
        *("--tools-json-file-name", "my-tools.json", "-o", "out/perf.csv", "-s", "out/summary.json"),
        *("--generate-sys-env-details", "False", "--cleanup-perf", "--results-dir", "logs"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["status"] for row in repo.rows("out/perf.csv")] == ["SUCCESS"]
    log = next((repo.path / "logs").glob("*/m/*.run.live.log")).read_text()
    assert "from-file tooled" in log
    assert not list((repo.path / "out").glob("perf_entry*"))
    assert (repo.path / "out/perf_super.json").exists()
    summary = json.loads((repo.path / "out/summary.json").read_text())
    assert summary["overall_success"] is True
    assert [one["model"] for one in summary["run_phase"]["successful_runs"]] == ["m"]


def test_gpu_architectures_are_skipped_unless_told(repo: Any) -> None:
    """Defect 44: given skip_gpu_arch / ``madengine-cli run`` / SKIPPED; runs with --disable-skip-gpu-arch."""
    repo.model("m", n_gpus="1", skip_gpu_arch="gfx942")
    simulated = ("run", "--tags", "m", "--simulate-gpus", "2:gfx942")
    assert call(repo, *simulated, program="madengine-cli").returncode == 0
    assert call(repo, *simulated, "--disable-skip-gpu-arch", program="madengine-cli").returncode == 0
    assert [row["status"] for row in repo.rows()] == ["SKIPPED", "SUCCESS"]


@pytest.mark.parametrize("program", ["madengine", "madengine-cli"])
def test_skip_model_run(repo: Any, program: str) -> None:
    repo.model("m", "touch ran; echo performance: 1 sps")
    assert call(repo, "run", "--tags", "m", "--skip-model-run", program=program).returncode == 0
    assert repo.statuses() == {"m": "SKIPPED"}
    assert not (repo.path / "scripts/m/ran").exists()


@pytest.mark.parametrize(
    ("args", "limit"),
    [
        ([], "run 360 s"),
        (["--timeout", "60"], "run 60 s"),
        (["--timeout", "7200"], "run 7200 s"),
        (["--timeout", "0"], "run none"),
        (["--timeout", "-1"], "run none"),
    ],
)
def test_the_limit_of_a_run(repo: Any, args: list[str], limit: str) -> None:
    repo.model("m", timeout=360)
    done = call(repo, "plan", "--tags", "m", *args)
    assert done.returncode == 0
    assert limit in done.stdout


def test_a_limit_below_minus_one_is_an_error(repo: Any) -> None:
    repo.model("m")
    assert call(repo, "run", "--tags", "m", "--timeout", "-2").returncode == 4
    assert not repo.rows()


def test_a_plan_shows_everything_and_no_secret(repo: Any) -> None:
    repo.model("m", args="--x 1")
    context = "{'docker_env_vars': {'A': '1', 'API_TOKEN': 'planted-secret'}}"
    done = call(repo, "plan", "--tags", "m:y=2", "--additional-context", context, MAD_SECRETS_X="planted-too")
    assert done.returncode == 0
    for text in ("plan of m[y=2]", "--x 1 --y 2", "A=1", "API_TOKEN=***", "string", "docker command"):
        assert text in done.stdout
    assert "planted" not in done.stdout + done.stderr
    assert not repo.rows()


def test_live_output_is_the_output_of_the_option(repo: Any) -> None:
    repo.model("m")
    done = call(repo, "run", "--tags", "m", "-l", "--keep-model-dir", "--clean-docker-cache", "--keep-alive")
    assert done.returncode == 0


def test_words_after_two_dashes_reach_pytest(repo: Any) -> None:
    repo.model("a").model("b")
    done = call(repo, "run", "--tags", "a", "b", "-v", "--", "--junitxml=j.xml", "-k", "b")
    assert done.returncode == 0
    assert repo.statuses() == {"b": "SUCCESS"}
    assert [case.get("name") for case in repo.junit().iter("testcase")] == ["b"]


def test_workers_run_models_at_the_same_time(repo: Any) -> None:
    repo.model("a").model("b").model("c", "exit 1")
    done = call(repo, "run", "--tags", "all", "--workers", "2")
    assert done.returncode == 3
    assert repo.statuses() == {"a": "SUCCESS", "b": "SUCCESS", "c": "FAILURE"}
    assert "3 models: 2 SUCCESS, 1 FAILURE" in done.stdout


def test_the_model_directory_of_the_environment(repo: Any, tmp_path: Path) -> None:
    """Contract section 1: ``MODEL_DIR`` names the repository, which is used in place."""
    repo.model("m")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environ = {**os.environ, "MODEL_DIR": str(repo.path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest_madengine", "discover"],
        cwd=elsewhere,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Number of models in total: 1\nm\n")
    assert not list(elsewhere.iterdir())


def test_a_manifest_is_read_and_never_written(repo: Any) -> None:
    """Defect 18: given a manifest / ``run --manifest-file`` / its bytes are unchanged; tags filter it."""
    repo.model("a").model("b")
    manifest = repo.path / "m.json"
    manifest.write_text(
        json.dumps(
            {
                "built_images": {
                    f"ci-{name}": {
                        "docker_image": f"ci-{name}",
                        "model": name,
                        "dockerfile": "docker/any.Dockerfile",
                    }
                    for name in ("a", "b")
                },
                "built_models": {f"ci-{entry['name']}": entry for entry in repo.entries},
                "context": {},
            }
        )
    )
    before = manifest.read_bytes()
    done = call(
        repo, "run", "--manifest-file", "m.json", "-s", "s.json", "--tags", "b", program="madengine-cli"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert repo.statuses() == {"b": "SUCCESS"}
    assert manifest.read_bytes() == before
    summary = json.loads((repo.path / "s.json").read_text())
    assert [one["model"] for one in summary["successful_runs"]] == ["b"]
    assert not (repo.path / "build_manifest.json").exists()


def test_a_missing_manifest(repo: Any) -> None:
    repo.model("m")
    assert call(repo, "run", "-m", "absent.json").returncode == 4
    done = call(repo, "run", "-m", "absent.json", "--tags", "m")
    assert done.returncode == 0
    assert "absent.json" in done.stdout
    assert repo.statuses() == {"m": "SUCCESS"}


def test_the_summary_of_a_run_that_never_began(repo: Any) -> None:
    """Given an older summary / a run with a usage error / the file does not speak of the older run."""
    repo.model("m")
    (repo.path / "s.json").write_text('{"overall_success": true}')
    assert call(repo, "run", "--tags", "nope", "-s", "s.json").returncode == 4
    summary = json.loads((repo.path / "s.json").read_text())
    assert summary["overall_success"] is False
    assert set(summary) == {"build_phase", "run_phase", "overall_success", "error"}


def test_a_conftest_of_the_repository_counts(repo: Any) -> None:
    """The command line runs the same session: overridden fixtures and hooks of the repository work."""
    repo.model("m")
    conftest = repo.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + "\ndef pytest_mad_result(record):\n    Path('seen').write_text(record.item_id)\n"
    )
    assert call(repo, "run", "--tags", "m").returncode == 0
    assert (repo.path / "seen").read_text() == "m"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("madengine dis", ["discover"]),
        ("madengine run --tags good_", ["good_a", "good_b"]),
        ("madengine run --tags x,good_b", ["x,good_b"]),
        ("madengine build -t dem", ["demo"]),
        ("madengine run --skip-model", ["--skip-model-run"]),
    ],
)
def test_shells_complete_commands_options_and_tags(repo: Any, typed: str, offered: list[str]) -> None:
    repo.model("good_a").model("good_b").model("other")
    words = str(len(typed.split()) - 1)
    program = Path(sys.executable).with_name("madengine")
    environ = {"_MADENGINE_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": words}
    done = subprocess.run(
        [program], cwd=repo.path, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == offered


# ---- discover and export-config ------------------------------------------------------------------------


@pytest.mark.parametrize("program", ["madengine", "madengine-cli"])
def test_discover_lists_names(repo: Any, program: str) -> None:
    repo.model("a").model("b", tags=["x", "y"])
    done = call(repo, "discover", program=program)
    assert (done.returncode, done.stdout) == (0, "Number of models in total: 2\na\nb\n")
    detailed = call(repo, "discover", "--verbose", program=program)
    assert "b  models.json  [x, y]" in detailed.stdout


def test_discover_with_tags_prints_entries(repo: Any) -> None:
    repo.model("a", args="--n 1").model("b")
    done = call(repo, "discover", "--tags", "a:bs=32", "b")
    assert done.returncode == 0
    entries = json.loads(done.stdout)
    assert [(entry["name"], entry.get("args")) for entry in entries] == [("a", "--n 1 --bs 32"), ("b", None)]
    assert done.stdout == json.dumps(entries, indent=4) + "\n"


def test_discover_errors(repo: Any, tmp_path: Path) -> None:
    repo.model("a")
    assert call(repo, "discover", "--tags", "nope").returncode == 4
    (repo.path / "models.json").write_text("[{}]")
    wrong = call(repo, "discover")
    assert wrong.returncode == 1
    assert "models.json: entry 1" in wrong.stderr
    (repo.path / "models.json").unlink()
    absent = call(repo, "discover")
    assert absent.returncode == 4
    assert "models.json file not found." in absent.stderr
    assert "Traceback" not in wrong.stderr + absent.stderr


def test_export_config(repo: Any) -> None:
    """Contract 9.3 and defect 31: models, context and credential names; secrets are references."""
    repo.model("a", cred="GIT", env_vars={"API_TOKEN": "planted-in-entry"}).model("b")
    (repo.path / "credential.json").write_text(
        json.dumps({"GIT": {"username": "u", "password": "planted-pw"}})
    )
    (repo.path / "credential.json").chmod(0o600)
    context = "{'docker_env_vars': {'A': '1', 'MY_TOKEN': 'planted-pw'}, 'gpu_vendor': 'amd'}"
    done = call(
        repo,
        *("export-config", "-t", "a:x=1", "-c", context, "-o", "out.json"),
        program="madengine-cli",
        MAD_SECRETS_X="planted-env",
    )
    assert done.returncode == 0, done.stderr
    text = (repo.path / "out.json").read_text()
    content = json.loads(text)
    assert text == json.dumps(content, indent=2) + "\n"
    assert set(content) == {"models", "context", "credentials_required"}
    assert set(content["context"]) == {"docker_env_vars", "docker_mounts", "gpu_vendor", "docker_gpus"}
    assert [model["args"] for model in content["models"]] == [" --x 1"]
    assert content["credentials_required"] == ["GIT"]
    assert content["context"]["gpu_vendor"] == "AMD"
    variables = content["context"]["docker_env_vars"]
    assert variables["A"] == "1"
    assert variables["MY_TOKEN"] == {"from_credential": "GIT.password"}
    assert variables["MAD_SECRETS_X"] == {"from_env": "MAD_SECRETS_X"}
    assert "planted" not in text + done.stdout + done.stderr


def test_export_config_writes_to_its_default(repo: Any) -> None:
    repo.model("a")
    assert call(repo, "export-config", "--tags", "all", program="madengine-cli").returncode == 0
    assert json.loads((repo.path / "execution_config.json").read_text())["models"][0]["name"] == "a"
    assert call(repo, "export-config", program="madengine-cli").returncode == 4


# ---- build ---------------------------------------------------------------------------------------------


def test_a_build_must_know_for_which_gpus(repo: Any) -> None:
    """Contract 7.1: given a host without a GPU and no gpu_vendor / build / exit 4 naming the key and its
    values; given one (defect 66) / no detection error."""
    repo.model("m")
    done = call(repo, "build", "--tags", "m", program="madengine-cli")
    assert done.returncode == 4
    for text in ("gpu_vendor", "AMD", "NVIDIA", "INTEL", "CPU"):
        assert text in done.stderr
    given = call(repo, "build", "--tags", "m", "-c", "{'gpu_vendor': 'AMD'}", program="madengine-cli")
    assert given.returncode == 0, given.stdout + given.stderr
    assert json.loads((repo.path / "build_manifest.json").read_text())["context"]["gpu_vendor"] == "AMD"
    assert not repo.rows()


def test_a_model_that_starts_its_own_containers_needs_an_image_that_can_be_pulled(repo: Any) -> None:
    """Contract 16.3."""
    multi = {"distributed": {"launcher": "slurm_multi"}}
    repo.model("m", **multi).model("named", **multi, env_vars={"DOCKER_IMAGE_NAME": "x/y:1"})
    refused = call(repo, "build", "--tags", "m", "-c", "{'gpu_vendor': 'CPU'}")
    assert refused.returncode == 4
    assert "slurm_multi" in refused.stderr
    for args in (["m", "--use-image", "x/y:1"], ["named"]):
        done = call(repo, "build", "-c", "{'gpu_vendor': 'CPU'}", "--tags", *args)
        assert done.returncode == 0, done.stdout + done.stderr


def test_build_options(repo: Any) -> None:
    repo.model("m")
    done = call(
        repo,
        *("build", "-t", "m", "-c", "{'gpu_vendor': 'CPU'}", "-m", "out/m.json", "-s", "out/s.json", "-v"),
        *("--sys-env-details", "--output", "out/perf.csv", "--ignore-deprecated", "-a", "gfx90a,gfx942"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    manifest = json.loads((repo.path / "out/m.json").read_text())
    assert len(manifest["built_images"]) == 2
    assert set(json.loads((repo.path / "out/s.json").read_text())) == {
        *("successful_builds", "failed_builds", "total_build_time", "successful_pushes", "failed_pushes")
    }
    assert not (repo.path / "out/perf.csv").exists()


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--tags", "m", "--batch-manifest", "b.json"], "exclude each other"),
        (["--tags", "m", "--use-image", "auto"], "DOCKER_IMAGE_NAME"),
        (["--tags", "m", "--use-image", "x:1", "--registry", "localhost:5000"], "exclude each other"),
        (["--batch-manifest", "absent.json"], "absent.json"),
    ],
)
def test_build_options_that_exclude_each_other(repo: Any, args: list[str], text: str) -> None:
    repo.model("m")
    done = call(repo, "build", *args, "-c", "{'gpu_vendor': 'CPU'}")
    assert done.returncode == 4
    assert text in done.stdout + done.stderr
