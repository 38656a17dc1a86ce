"""Activation, collection and selection: like any other test (issue 2, done-when 5)."""

from __future__ import annotations

import json
from typing import Any

import pytest


@pytest.fixture
def three(repo: Any) -> Any:
    repo.model("alpha", tags=["demo", "pyt", "fp16"])
    repo.model("beta", tags=["demo", "pyt"])
    repo.model("gamma", tags=["other"])
    return repo


def collected(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line and " " not in line.strip()]


def test_nothing_happens_without_being_asked(three: Any) -> None:
    result = three.run("--collect-only", "-q")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert not collected(result)
    assert not (three.path / "mad-results").exists()


def test_tags_select_and_collect_nothing_else(three: Any) -> None:
    three.pytester.makepyfile(test_other="def test_plain(): pass")
    result = three.run("--mad-tags", "demo", "--collect-only", "-q")
    assert collected(result) == ["models.json::alpha", "models.json::beta"]


def test_tags_with_path_argument_adds_the_models(three: Any) -> None:
    three.pytester.makepyfile(test_other="def test_plain(): pass")
    result = three.run("--mad-tags", "gamma", "--collect-only", "-q", "test_other.py")
    assert set(collected(result)) == {"models.json::gamma", "test_other.py::test_plain"}


def test_node_id_works_with_no_other_option(three: Any) -> None:
    result = three.run("models.json::beta", "-q")
    assert result.ret == 0
    assert three.statuses() == {"beta": "SUCCESS"}


def test_node_id_with_parameters(three: Any) -> None:
    result = three.run("models.json::beta[bs=4:flag]", "-q")
    assert result.ret == 0
    assert [row["args"] for row in three.rows()] == [" --bs 4 --flag"] or [
        row["args"].strip() for row in three.rows()
    ] == ["--bs 4 --flag"]


def test_whole_file_as_argument(three: Any) -> None:
    result = three.run("models.json", "--collect-only", "-q")
    assert len(collected(result)) == 3


def test_unknown_node_id_is_a_usage_error_with_close_match(three: Any) -> None:
    result = three.run("models.json::betta")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*not found: models.json::betta*did you mean beta*"])


def test_marker_expression_selects_with_ini_mad(three: Any) -> None:
    three.pytester.makeini("[pytest]\nmad = true\n")
    result = three.run("-m", "pyt and not fp16", "--collect-only", "-q")
    assert collected(result) == ["models.json::beta"]


def test_ini_mad_without_any_selection_collects_no_models(three: Any) -> None:
    three.pytester.makeini("[pytest]\nmad = true\n")
    three.pytester.makepyfile(test_other="def test_plain(): pass")
    result = three.run("--collect-only", "-q")
    assert collected(result) == ["test_other.py::test_plain"]


def test_marker_expression_within_tags(three: Any) -> None:
    result = three.run("--mad-tags", "all", "-m", "fp16", "--collect-only", "-q")
    assert collected(result) == ["models.json::alpha"]


def test_keyword_matches_names_and_tags(three: Any) -> None:
    assert collected(three.run("--mad-tags", "all", "-k", "gam", "--collect-only", "-q")) == [
        "models.json::gamma"
    ]
    assert collected(three.run("--mad-tags", "all", "-k", "fp16", "--collect-only", "-q")) == [
        "models.json::alpha"
    ]


def test_strict_markers_and_warnings_as_errors(three: Any) -> None:
    result = three.run("--mad-tags", "all", "--strict-markers", "-W", "error")
    assert result.ret == 0
    result.assert_outcomes(passed=3)


def test_last_failed_reruns_only_the_failure(repo: Any) -> None:
    repo.model("good").model("bad", "exit 3")
    assert repo.run("--mad-tags", "demo", "--cached").ret == 1
    result = repo.run("--mad-tags", "demo", "--lf")
    result.assert_outcomes(failed=1)
    assert [row["model"] for row in repo.rows()] == ["good", "bad", "bad"]


def test_exit_first_accounts_for_every_selected_model(repo: Any) -> None:
    repo.model("one", "exit 1").model("two")
    result = repo.run("--mad-tags", "demo", "-x")
    assert result.ret != 0
    assert repo.statuses() == {"one": "FAILURE", "two": "SKIPPED"}
    assert "not run" in repo.records()[1]["reason"]


def test_collect_only_runs_and_writes_nothing(three: Any) -> None:
    three.run("--mad-tags", "all", "--collect-only")
    assert not three.rows()
    assert not three.records()


def test_unknown_tag_exits_4_with_close_matches(three: Any) -> None:
    result = three.run("--mad-tags", "alfa")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*No models found corresponding to the given tag: alfa*alpha*"])
    assert "docker" not in result.stderr.str().lower()


def test_model_dir_and_root_option(three: Any, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    root = str(three.path)
    result = three.pytester.runpytest_inprocess(
        "--mad-root", root, "--mad-tags", "gamma", "--collect-only", "-q"
    )
    assert "::gamma" in result.stdout.str()
    monkeypatch.setenv("MODEL_DIR", root)
    result = three.pytester.runpytest_inprocess("--mad-tags", "gamma", "--collect-only", "-q")
    assert "::gamma" in result.stdout.str()


def test_no_repository_is_a_usage_error(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess("--mad-tags", "x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*models.json file not found.*"])


def test_malformed_json_names_line_and_column(repo: Any) -> None:
    (repo.path / "models.json").write_text('[\n {"name": "x",}\n]')
    result = repo.run("--mad-tags", "x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*models.json*line 2*"])
    assert "Traceback" not in result.stderr.str()


def test_environment_and_ini_twins_and_precedence(three: Any, monkeypatch: Any) -> None:
    three.pytester.makeini("[pytest]\nmad_tags = gamma\n")
    assert collected(three.run("--collect-only", "-q")) == ["models.json::gamma"]
    monkeypatch.setenv("MAD_PYTEST_TAGS", "beta")
    assert collected(three.run("--collect-only", "-q")) == ["models.json::beta"]
    assert collected(three.run("--collect-only", "-q", "--mad-tags", "alpha")) == ["models.json::alpha"]


def test_list_tags(three: Any) -> None:
    result = three.run("--mad-list-tags")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["demo*2*alpha, beta", "4 tags, 3 models"])


def test_dynamic_directory_and_two_dockerfiles(repo: Any) -> None:
    repo.model("root")
    directory = repo.path / "scripts/dyn"
    directory.mkdir()
    (directory / "run.sh").write_text('echo "performance: $2 sps"\n')
    (directory / "get_models_json.py").write_text(
        "from madengine.tools.discover_models import CustomModel\n"
        "def list_models():\n"
        "    return [CustomModel(name='d', dockerfile='../../docker/two', scripts='run.sh', n_gpus='0',"
        " tags=['dt'])]\n"
    )
    for name in ("two.a.Dockerfile", "two.b.Dockerfile"):
        (repo.path / "docker" / name).write_text("# CONTEXT {'x': 1}\nFROM scratch\n")
    result = repo.run("--mad-tags", "dyn/d:bs=8", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*scripts/dyn/get_models_json.py::dyn/d[[]two.a:bs=8[]] PASSED*",
            "*scripts/dyn/get_models_json.py::dyn/d[[]two.b:bs=8[]] PASSED*",
        ]
    )
    assert [row["performance"] for row in repo.rows()] == ["8", "8"]
    again = repo.run("scripts/dyn/get_models_json.py::dyn/d[two.a:bs=8]")
    again.assert_outcomes(passed=1)


def test_unrelated_models_json_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("models.json").write_text(json.dumps({"not": "ours"}))
    pytester.makepyfile("def test_x(): pass")
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


@pytest.mark.slow
def test_xdist_gives_the_same_rows(repo: Any) -> None:
    for name in ("a", "b", "c", "d"):
        repo.model(name)
    repo.model("bad", "exit 2")
    result = repo.run("--mad-tags", "demo", "-n", "2", "--junitxml", "j.xml", subprocess=True)
    result.assert_outcomes(passed=4, failed=1)
    assert repo.statuses() == {
        "a": "SUCCESS",
        "b": "SUCCESS",
        "c": "SUCCESS",
        "d": "SUCCESS",
        "bad": "FAILURE",
    }
    assert len(repo.junit().findall(".//testcase")) == 5
    assert len({record["run_id"] for record in repo.records()}) == 1


def test_a_separate_path_word_must_not_become_the_rootdir(repo: Any, tmp_path: Any) -> None:
    """pytest takes an existing directory after an option it does not know yet for a test path."""
    repo.model("m")
    results = tmp_path / "elsewhere"
    results.mkdir()
    result = repo.run("--mad-tags", "demo", "--mad-results-dir", str(results))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*for its rootdir*", f"write --mad-results-dir={results}"])
    assert repo.run("--mad-tags", "demo", f"--mad-results-dir={results}").ret == 0


@pytest.mark.parametrize(
    "context,text",
    [
        ("{'tools': [{'name': 'rocprov'}]}", "*rocprov*"),
        ("{'distributed': {'launcher': 'torchrunn'}}", "*torchrunn*torchrun*"),
        ("{'docker_gpus': '3-1'}", "*3-1*"),
        ("[1]", "*"),
        ("{'docker_gpus': 3.5}", "*docker_gpus*"),
    ],
)
def test_wrong_context_is_a_usage_error_and_nothing_runs(repo: Any, context: str, text: str) -> None:
    """Defect 68: an unknown launcher / run / error with did-you-mean, nothing runs."""
    result = repo.model("m").run("--mad-tags", "demo", "--mad-context", context)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([text])
    assert not repo.records()
    assert "Traceback" not in result.stderr.str()


def test_environment_alone_turns_the_plugin_on_only_by_what_to_run(
    three: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that a CI system sets for all jobs must not break unrelated runs."""
    three.pytester.makepyfile(test_other="def test_plain(): pass")
    monkeypatch.setenv("MAD_PYTEST_RESULTS_DIR", "/nowhere")
    (three.path / "models.json").unlink()
    three.run().assert_outcomes(passed=1)


def test_reruns_are_refused_for_models(repo: Any) -> None:
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text() + "\n\ndef pytest_addoption(parser):\n    parser.addoption('--reruns', type=int)\n"
    )
    result = repo.model("m").run("--mad-tags", "demo", "--reruns=2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--reruns*", "*--mad-retries*"])


def test_resume_runs_only_what_has_no_success(repo: Any) -> None:
    repo.model("good").model("bad", "exit 1")
    assert repo.run("--mad-tags", "demo").ret == 1
    first = repo.records()[0]["run_id"]
    (repo.path / "scripts/bad/run.sh").write_text("echo performance: 2 x")
    result = repo.run("--mad-tags", "demo", "--mad-resume", "--junitxml", "j.xml", "-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines([f"*SUCCESS in session {first} (--mad-resume)*"])
    assert [(row["model"], row["status"]) for row in repo.rows()] == [
        ("good", "SUCCESS"),
        ("bad", "FAILURE"),
        ("bad", "SUCCESS"),
    ]
    assert len(repo.junit().findall(".//testcase")) == 2
    again = repo.run("--mad-tags", "demo", "--mad-resume")
    again.assert_outcomes(skipped=2)


def test_resume_runs_a_changed_model_again(repo: Any) -> None:
    repo.model("m").run("--mad-tags", "demo")
    (repo.path / "scripts/m/run.sh").write_text("echo performance: 5 sps")
    repo.run("--mad-tags", "demo", "--mad-resume").assert_outcomes(passed=1)
    assert [row["performance"] for row in repo.rows()] == ["1", "5"]


def test_resume_of_an_unknown_session_is_a_usage_error(repo: Any) -> None:
    result = repo.model("m").run("--mad-tags", "demo", "--mad-resume=nope")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no session nope*"])


def test_marker_expression_selects_dynamic_models_too(repo: Any) -> None:
    repo.pytester.makeini("[pytest]\nmad = true\n")
    repo.model("root")
    directory = repo.path / "scripts/dyn"
    directory.mkdir()
    (directory / "run.sh").write_text("echo performance: 1 sps\n")
    (directory / "get_models_json.py").write_text(
        "from madengine.tools.discover_models import CustomModel\n"
        "class Late(CustomModel):\n"
        "    def update_model(self):\n"
        "        self.args = '--late'\n"
        "def list_models():\n"
        "    return [Late(name='d', dockerfile='../../docker/any', scripts='run.sh', n_gpus='0',"
        " tags=['checksum'])]\n"
    )
    result = repo.run("-m", "checksum", "--collect-only", "-q")
    assert collected(result) == ["scripts/dyn/get_models_json.py::dyn/d"]
    repo.run("-m", "checksum").assert_outcomes(passed=1)
    assert [row["args"] for row in repo.rows()] == ["--late"]
    repo.run("scripts/dyn/get_models_json.py").assert_outcomes(passed=1)


def test_skips_name_the_file_of_the_model(repo: Any) -> None:
    result = repo.model("old", is_deprecated=True).run("--mad-tags", "demo", "-rs")
    result.stdout.fnmatch_lines(["SKIPPED [[]1[]] models.json:1: Model old has been deprecated."])


def test_results_of_earlier_sessions_are_not_mounted(repo: Any) -> None:
    repo.model("m").run("--mad-tags", "demo")
    result = repo.run("--mad-tags", "demo", "--mad-plan", "--mad-results-dir=elsewhere")
    assert "/myworkspace/mad-results" not in result.stdout.str()
