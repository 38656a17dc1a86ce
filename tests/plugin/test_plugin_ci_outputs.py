"""What CI systems read of a session: GitHub's summary and commands, OpenMetrics, benchmark JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

#: Lines of a model that is up to no good on a CI machine, and what a runner would make of them.
HOSTILE = (
    "::set-output name=x::stolen",
    "   ::add-mask::a",
    "::stop-commands::mine",
    "##[set-output name=x]stolen",
    "text ##[add-matcher]x",
    "::error::made up",
)


@pytest.fixture
def github(repo: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A repository in a step of GitHub Actions."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(repo.path / "summary.md"))
    monkeypatch.setenv("GITHUB_WORKSPACE", str(repo.path))
    return repo


@pytest.fixture
def elsewhere(repo: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A repository that is not on GitHub Actions."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return repo


def commands(output: str) -> list[str]:
    """The workflow commands that GitHub's runner would carry out: as its ActionCommandManager reads lines."""
    found, token = [], ""
    for line in output.splitlines():
        # "##[command]" is found anywhere in a line, "::command::" only at its beginning.
        match = re.match(r"\s*::([^:\s]+)(?: [^:]*)?::", line) or re.search(r"##\[([^\] ]+)", line)
        if match is None:
            continue
        if token:
            token = "" if match[1] == token else token
        elif match[1] == "stop-commands":
            token = line.strip().removeprefix("::stop-commands::")
        else:
            found.append(line)
    return found


def summary(repo: Any) -> str:
    return (repo.path / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("workers", ["", "-n2"], ids=["alone", "workers"])
def test_step_summary(github: Any, workers: str) -> None:
    github.model("good", "echo performance: 12.5 sps")
    github.model("bad", "echo the log says why; exit 3").model("skipped", n_gpus="8")
    (github.path / "summary.md").write_text("written by a step before", encoding="utf-8")
    github.run("--mad-tags", "demo", *filter(None, [workers]), subprocess=bool(workers))
    text = summary(github)
    assert text.startswith(
        "written by a step before\n\n## MAD models: 1 ❌ failed, 1 ✅ succeeded, 1 ⏭️ skipped\n"
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| Model", "| bad", "| Model", "| skipped", "| good"]
    assert "script exited with 3" in rows[1]
    assert "12.5 sps" in rows[4]
    assert "the log says why" in text.partition("<pre>")[2].partition("</pre>")[0]


def test_annotations(github: Any) -> None:
    github.model("good").model("bad", "exit 3").model("warned", "echo performance: 1 x; echo ValueError: odd")
    result = github.run("--mad-tags", "demo")
    found = commands(result.stdout.str())
    line = 1 + (github.path / "models.json").read_text().splitlines().index('  "name": "bad",')
    assert found[0].startswith(f"::error file=models.json,line={line},title=bad failed::script exited with 3")
    assert [text.split(" ")[0] for text in found] == ["::error", "::warning"]
    assert "ValueError" in found[1]


def test_a_model_cannot_give_commands_to_the_runner(github: Any) -> None:
    """Given models that print workflow commands / when they fail and all is shown / then the runner carries
    out none of theirs, and still all of ours."""
    printed = "\n".join(f"echo '{line}'" for line in HOSTILE)
    github.model("bad", f"{printed}\nexit 1")
    github.model("worse", f"{printed}\necho performance: 1 x")
    result = github.run("--mad-tags", "demo", "-rA", "-s")
    output = result.stdout.str()
    assert "::set-output name=x::stolen" in output, "the log is shown as it is"
    found = commands(output)
    assert len(found) == 1
    assert found[0].startswith("::error ")
    assert "title=bad failed" in found[0]
    assert output.count("::stop-commands::mad-") == 1
    page = summary(github)
    assert "<script" not in page
    assert "::set-output name=x::stolen" in page.partition("<pre>")[2].partition("</pre>")[0]


@pytest.mark.parametrize("name", ["m\n::set-output name=x::y", "m%0A::error::x", "a,line=9", "x::y"])
def test_a_name_cannot_give_commands_to_the_runner(github: Any, name: str) -> None:
    github.model("ok")
    (github.path / "conftest.py").write_text(
        (github.path / "conftest.py").read_text()
        + f"""
@pytest.hookimpl(tryfirst=True)
def pytest_mad_result(config, record):
    record.__dict__.update(item_id={name!r}, reason={name!r}, outcome=type(record.outcome)("FAILURE"))
"""
    )
    found = commands(github.run("--mad-tags", "demo").stdout.str())
    assert len(found) == 1
    assert found[0].startswith("::error ")
    assert re.fullmatch(r"::error title=[^:,]*::[^\n]*", found[0])


@pytest.mark.parametrize("on_github", [True, False])
def test_other_front_ends_can_switch_commands_off(on_github: bool) -> None:
    """For what the command lines print after the session; also when that breaks off."""
    from pytest_madengine.sinks.ci import commands_off

    lines: list[str] = []
    environ = {"GITHUB_ACTIONS": "true"} if on_github else {}

    def printed() -> None:
        with commands_off(environ, lines.append):
            lines.extend(HOSTILE)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        printed()
    lines.append("::error::ours")
    assert (commands("\n".join(lines)) == ["::error::ours"]) == on_github
    assert (lines == [*HOSTILE, "::error::ours"]) != on_github


def test_everything_ends_when_nothing_ran(github: Any) -> None:
    github.model("ok")
    result = github.run("--mad-tags", "demo", "-k", "nothing")
    lines = [line for line in result.stdout.lines if line.startswith("::")]
    assert len(lines) == 2
    assert lines[1] == f"::{lines[0].removeprefix('::stop-commands::')}::"
    assert not (github.path / "summary.md").exists()


def test_only_on_github(elsewhere: Any) -> None:
    elsewhere.model("bad", "exit 1")
    assert "::" not in re.sub(r"\w+\.json::\w+", "", elsewhere.run("--mad-tags", "demo").stdout.str())


def test_not_when_it_is_not_wanted(github: Any) -> None:
    github.model("bad", "exit 1")
    result = github.run("--mad-tags", "demo", "--mad-github-summary=false")
    result.stdout.no_fnmatch_line("::*")
    assert not (github.path / "summary.md").exists()


def test_a_list_of_items_has_no_commands(github: Any) -> None:
    github.model("good")
    github.run("--mad-tags", "demo", "--collect-only", "-q").stdout.no_fnmatch_line("::*")


def test_full_summary_is_said(github: Any) -> None:
    github.model("good")
    (github.path / "summary.md").write_text("x" * 900 * 1024, encoding="utf-8")
    github.run("--mad-tags", "demo").stdout.fnmatch_lines(["the step summary of GitHub is full*"])
    assert len(summary(github)) == 900 * 1024


def test_openmetrics(elsewhere: Any) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    elsewhere.model("good", "echo performance: 21750 sps").model("bad", "echo performance: 5 sps; exit 1")
    result = elsewhere.run(
        "--mad-tags", "demo", "--mad-openmetrics=out/m.txt", "--mad-simulate-gpus=2:gfx942"
    )
    result.stdout.fnmatch_lines(["OpenMetrics: *m.txt"])
    text = (elsewhere.path / "out/m.txt").read_text()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    (sample,) = families["mad_performance"].samples
    assert sample.labels == {"model": "good", "gpu_architecture": "gfx942", "n_gpus": "0", "metric": "sps"}
    assert "} 21750\n" in text
    assert {s.labels["model"]: s.value for s in families["mad_status"].samples} == {"good": 1, "bad": 0}
    assert {s.labels["status"]: s.value for s in families["mad_models"].samples}["FAILURE"] == 1
    assert len(families["mad_test_duration_seconds"].samples) == 2


def test_benchmark_json(elsewhere: Any) -> None:
    """Throughput goes to the file, a latency to the one beside it."""
    elsewhere.model("good", "echo performance: 12.5 sps; echo performance: 7 latency_ms").model(
        "bad", "exit 1"
    )
    result = elsewhere.run("--mad-tags", "demo", "--mad-benchmark-json", "b.json")
    result.stdout.fnmatch_lines(["benchmark JSON: *b.json, *b.smaller.json"])
    (bigger,) = json.loads((elsewhere.path / "b.json").read_text())
    assert (bigger["name"], bigger["unit"], bigger["value"]) == ("good: sps", "sps", 12.5)
    (smaller,) = json.loads((elsewhere.path / "b.smaller.json").read_text())
    assert (smaller["name"], smaller["value"]) == ("good: latency_ms", 7)


@pytest.mark.parametrize("option", ["--mad-openmetrics", "--mad-benchmark-json"])
def test_an_output_that_cannot_be_written(elsewhere: Any, option: str) -> None:
    """The others are written, other sinks are not disturbed, and the session is no success."""
    other = ({"--mad-openmetrics", "--mad-benchmark-json"} - {option}).pop()
    elsewhere.model("good", f"mkdir {elsewhere.path}/taken; echo performance: 1 x")
    (elsewhere.path / "conftest.py").write_text(
        (elsewhere.path / "conftest.py").read_text()
        + "\ndef pytest_mad_finish(config, records):\n    print('my own sink')\n"
    )
    result = elsewhere.run("--mad-tags", "demo", f"{option}=taken", f"{other}=fine.txt", "-s")
    assert result.ret == 1
    result.stdout.fnmatch_lines([f"ERROR results: {option}: *"])
    assert "my own sink" in result.stdout.str()
    assert (elsewhere.path / "fine.txt").exists()


def test_secrets_stay_out(github: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that a failing model prints is in no output."""
    token = "planted-token-4711"
    monkeypatch.setenv("MAD_SECRETS_X", token)
    github.model("bad", "echo $MAD_SECRETS_X; exit 1")
    result = github.run("--mad-tags", "demo", "--mad-openmetrics=m.txt", "--mad-benchmark-json=b.json")
    assert token not in result.stdout.str().replace(Path.home().name, "")
    for name in ("summary.md", "m.txt", "b.json"):
        assert token not in (github.path / name).read_text()
