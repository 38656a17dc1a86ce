"""examples/ci: right by the schemas of GitHub and GitLab, by a Groovy parser and the rules of Jenkins."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ci_files import (
    CI,
    GITHUB,
    GITLAB,
    JENKINS,
    Directive,
    Step,
    groovy_text,
    jenkins_directives,
    jenkins_tree,
    load_yaml,
    steps,
)
from docs_pages import DOCS, blocks_of

FILES = (JENKINS, GITLAB, GITHUB)
PAGES = {JENKINS: "ci-jenkins.md", GITLAB: "ci-gitlab.md", GITHUB: "ci-github.md"}
#: What a block of a declarative pipeline may hold (Jenkins' own syntax page), as far as it is used here.
MEMBERS = {
    "pipeline": {"agent", "parameters", "triggers", "options", "environment", "stages", "post", "tools"},
    "agent": {"label"},
    "parameters": {"string", "booleanParam", "choice", "text", "password"},
    "triggers": {"cron", "pollSCM", "upstream"},
    "options": {
        *("disableConcurrentBuilds", "timeout", "buildDiscarder", "retry", "skipDefaultCheckout"),
        *("skipStagesAfterUnstable", "preserveStashes", "quietPeriod"),
    },
    "stages": {"stage"},
    "stage": {"steps", "agent", "environment", "when", "post", "options", "tools"},
    "steps": {"sh", "echo", "checkout", "dir", "catchError"},
    "post": {"always", "changed", "failure", "success", "unstable", "aborted", "cleanup"},
    "always": {"junit", "archiveArtifacts", "sh", "echo"},
}
#: Named parameters of the steps in use (junit and core plugins).
PARAMETERS = {
    "junit": {"testResults", "keepProperties", "allowEmptyResults", "keepLongStdio"},
    "archiveArtifacts": {"artifacts", "allowEmptyArchive", "fingerprint", "excludes"},
    "string": {"name", "defaultValue", "description"},
    "timeout": {"time", "unit"},
}
each = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.name))


def check_schema(path: Path, *options: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *options, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_github_takes_the_workflow() -> None:
    check_schema(GITHUB, "--builtin-schema", "vendor.github-workflows")


def test_gitlab_takes_the_pipeline() -> None:
    check_schema(GITLAB, "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")


def test_a_wrong_file_would_be_found(tmp_path: Path) -> None:
    """The checks check something."""
    wrong = tmp_path / "w.yml"
    wrong.write_text(GITHUB.read_text().replace("runs-on:", "run-on:"))
    with pytest.raises(AssertionError, match="run-on"):
        check_schema(wrong, "--builtin-schema", "vendor.github-workflows")
    wrong.write_text(GITLAB.read_text().replace("artifacts:", "artefacts:"))
    with pytest.raises(AssertionError, match="artefacts"):
        check_schema(wrong, "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci")
    text = JENKINS.read_text()
    with pytest.raises(ValueError, match="not valid Groovy"):
        jenkins_tree(text.replace("stages {", "stages", 1))
    for good, bad in (("steps {", "stepz {"), ("keepProperties", "keepProps"), ("agent {", "agents {")):
        with pytest.raises(AssertionError):
            check_pipeline(text.replace(good, bad, 1))


# ---- Jenkins --------------------------------------------------------------------------------------------


def check_pipeline(text: str) -> Directive:
    (pipeline,) = jenkins_directives(jenkins_tree(text))
    assert pipeline.name == "pipeline"
    names = [one.name for one in pipeline.body]
    assert len(names) == len(set(names))
    assert {"agent", "stages"} <= set(names)
    check_members(pipeline)
    return pipeline


def check_members(block: Directive) -> None:
    if block.name not in MEMBERS:
        assert not block.body or block.name == "environment", block.name
        assert set(block.named) <= PARAMETERS.get(block.name, set(block.named)), block
        return
    assert block.body, f"{block.name} is empty"
    if block.name == "stage":
        assert len(block.arguments) == 1
        assert [one.name for one in block.body].count("steps") == 1
    assert {one.name for one in block.body} <= MEMBERS[block.name], block.name
    for one in block.body:
        check_members(one)


def test_the_pipeline_is_declarative() -> None:
    pipeline = check_pipeline(JENKINS.read_text(encoding="utf-8"))
    (junit,) = pipeline.find("junit")
    assert junit.named == {"testResults": "'junit.xml'", "keepProperties": "true"}
    assert not pipeline.find("plot"), "that plugin is not among those that Jenkins suggests"


def test_groovy_puts_nothing_into_a_script() -> None:
    """Parameters are variables of the shell: in single quotes Groovy leaves ``$`` alone."""
    text = JENKINS.read_text(encoding="utf-8")
    assert '"""' not in text
    (pipeline,) = jenkins_directives(jenkins_tree(text))
    assert len(pipeline.find("sh")) == 2
    for script in pipeline.find("sh"):
        groovy_text(script.arguments[0])


# ---- GitHub ---------------------------------------------------------------------------------------------


def test_actions_are_pinned_and_may_little() -> None:
    workflow = load_yaml(GITHUB)
    assert workflow["permissions"] == {"contents": "read"}
    text = GITHUB.read_text(encoding="utf-8")
    uses = re.findall(r"uses: *(.+)", text)
    assert len(uses) == 2
    for action in uses:
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
    assert "persist-credentials: false" in text
    assert "pull_request_target" not in text


def test_no_expression_stands_in_a_script() -> None:
    for step in steps(GITHUB):
        assert "${{" not in step.text


def test_what_a_failed_run_left_is_kept() -> None:
    upload = load_yaml(GITHUB)["jobs"]["benchmarks"]["steps"][-1]
    assert upload["if"] == "always()"
    assert load_yaml(GITLAB)["benchmarks"]["artifacts"]["when"] == "always"


# ---- all of them ----------------------------------------------------------------------------------------


@each
def test_scripts_parse(path: Path) -> None:
    found = steps(path)
    assert [step.is_run for step in found] == [False, True]
    for step in found:
        done = subprocess.run(
            ["bash", "-n"], input=step.text, capture_output=True, text=True, timeout=20, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


@each
def test_variables_are_quoted(path: Path) -> None:
    for step in steps(path):
        assert not re.search(r'(?<!")\$', step.text)


@each
def test_the_files_that_are_written_are_kept(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (run,) = [step for step in steps(path) if step.is_run]
    for name in re.findall(
        r"--(?:junitxml|html|mad-report|mad-openmetrics|mad-benchmark-json)=(\S+)", run.text
    ):
        kept = name.replace("benchmark.json", "benchmark*.json")
        assert kept in text.replace(run.text, "").partition("bin/pytest")[2].partition("\n")[2]


@each
def test_the_page_shows_the_file(path: Path) -> None:
    blocks = [block.text for block in blocks_of(DOCS / "how-to" / PAGES[path])]
    assert path.read_text(encoding="utf-8") in blocks


def test_nothing_else_is_there() -> None:
    assert {path.name for path in CI.iterdir()} == {path.name for path in FILES}


def test_steps_are_what_they_say() -> None:
    assert Step("x/bin/pytest -v", ("sh",)).is_run
    assert not Step("pip install pytest-madengine", ("sh",)).is_run
