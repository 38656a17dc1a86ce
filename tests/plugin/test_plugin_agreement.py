"""Rows, records and exit status agree; sessions that run nothing write nothing; users' code fails alone."""

from __future__ import annotations

from typing import Any

import pytest


def add_conftest(repo: Any, text: str) -> None:
    conftest = repo.path / "conftest.py"
    conftest.write_text(conftest.read_text() + "\n\n" + text)


def only_record(repo: Any) -> dict[str, Any]:
    (record,) = repo.records()
    found: dict[str, Any] = record
    return found


def nothing_written(repo: Any) -> bool:
    return not (repo.path / "mad-results").exists() and not (repo.path / "perf.csv").exists()


# ---- sessions that run nothing (faults 1.9) --------------------------------------------------------------


def test_sessions_that_run_nothing_write_nothing(repo: Any) -> None:
    """faults 1.9: options of pytest that only show something / a model is selected / nothing is written."""
    repo.model("m")
    add_conftest(repo, "@pytest.fixture(autouse=True)\ndef own():\n    yield\n")
    for words in (
        ["--setup-plan"],
        ["--setup-only"],
        ["--fixtures"],
        ["--fixtures-per-test"],
        ["--collect-only"],
        ["--markers"],
        ["--help"],
        ["--cache-show", "--cached"],
        ["-k", "nothing"],
        ["--deselect", "models.json::m"],
        ["--setup-plan", "-n", "1"],
    ):
        result = repo.run("--mad-tags", "demo", *words)
        assert result.ret in (0, 5), words
        assert nothing_written(repo), words


def test_setup_show_runs(repo: Any) -> None:
    """faults 1.9: --setup-show / it shows and runs / a row as always."""
    repo.model("m")
    assert repo.run("--mad-tags", "demo", "--setup-show").ret == 0
    assert repo.statuses() == {"m": "SUCCESS"}


# ---- exit status and record (faults 1.16, 1.17) ----------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "strict", "status", "row", "reason"),
    [
        ("exit 3", False, 0, "SKIPPED", "expected to fail (xfail: known), and did: script exited with 3"),
        ("echo performance: 1 x", False, 0, "SUCCESS", ""),
        ("echo performance: 1 x", True, 1, "FAILURE", "[XPASS(strict)] known"),
    ],
)
def test_xfail(repo: Any, script: str, strict: bool, status: int, row: str, reason: str) -> None:
    """faults 1.16: a model marked xfail / fails or passes / row, record and exit status agree."""
    repo.model("m", script)
    add_conftest(
        repo,
        "def pytest_collection_modifyitems(items):\n"
        f"    items[0].add_marker(pytest.mark.xfail(reason='known', strict={strict}))\n",
    )
    assert repo.run("--mad-tags", "demo").ret == status
    assert repo.statuses() == {"m": row}
    record = only_record(repo)
    assert (record["outcome"], record["reason"]) == (row, reason)
    if row == "SUCCESS":
        assert record["warnings"] == ["expected to fail (xfail: known), but passed"]


def test_a_fixture_that_fails_in_teardown(repo: Any) -> None:
    """faults 1.16: an autouse fixture fails in teardown / SUCCESS, FAILURE, SKIPPED / both are said."""
    repo.model("good").model("bad", "exit 3").model("old", is_deprecated=True)
    add_conftest(
        repo,
        "@pytest.fixture(autouse=True)\ndef own():\n    yield\n    raise RuntimeError('no cleaning up')\n",
    )
    assert repo.run("--mad-tags", "demo").ret == 1
    assert set(repo.statuses().values()) == {"FAILURE"}
    found = {record["model"]: record for record in repo.records()}
    assert found["good"]["reason"] == "RuntimeError: no cleaning up (the run before: SUCCESS)"
    assert found["bad"]["reason"] == "script exited with 3"
    assert found["bad"]["warnings"] == ["the teardown failed as well: RuntimeError: no cleaning up"]
    assert found["old"]["reason"].endswith("(the run before: SKIPPED: Model old has been deprecated.)")


def test_nothing_ran_for_want_of_hardware(repo: Any) -> None:
    """faults 1.17: no GPU is seen, all models need one / run / exit 5; with the option: 0."""
    repo.model("a", n_gpus="1").model("b", n_gpus="8", tags=["demo", "b"])
    assert repo.run("--mad-tags", "demo").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert set(repo.statuses().values()) == {"SKIPPED"}
    assert all(record["lacks_hardware"] for record in repo.records())
    assert repo.run("--mad-tags", "demo", "--mad-allow-no-hardware").ret == 0
    repo.model("cpu")
    assert repo.run("--mad-tags", "demo").ret == 0


FORKED = """
def pytest_addoption(parser):
    parser.addoption("--forked", action="store_true")  # as pytest-forked does
"""


def test_forked_is_refused(repo: Any) -> None:
    """faults 5.9: given pytest-forked / ``--forked`` / a usage error that says what to use."""
    repo.model("m")
    (repo.path / "forkedlike.py").write_text(FORKED)
    done = repo.run("-p", "forkedlike", "--mad-tags", "m", "--forked", subprocess=True)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*--forked runs a model in a copy of this process*", "use -n N *"])
    assert repo.rows() == []


# ---- code of users (faults 2.11, 5.12) -------------------------------------------------------------------


SINK = """
def pytest_mad_result(config, record):
    with open("first", "a") as stream:
        stream.write(record.item_id + "\\n")


class Bad:
    def pytest_mad_result(self, config, record):
        import sys
        {body}


class Last:
    @pytest.hookimpl(trylast=True)
    def pytest_mad_result(self, record):
        with open("last", "a") as stream:
            stream.write(record.item_id + "\\n")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    session.config.pluginmanager.register(Last(), "last-sink")
    session.config.pluginmanager.register(Bad(), "bad-sink")
"""


@pytest.mark.parametrize(
    "body",
    [
        "pytest.fail('boom')",
        "pytest.skip('boom')",
        "pytest.exit('boom')",
        "sys.exit(0)",
        "raise KeyboardInterrupt('boom')",
        "raise BaseException('boom')",
        "raise ValueError('boom')",
    ],
)
def test_a_sink_may_raise_anything(repo: Any, body: str) -> None:
    """faults 2.11: a sink raises / two models / all run, the other sinks see both, exit 1 naming the sink."""
    repo.model("a").model("b")
    add_conftest(repo, SINK.format(body=body))
    result = repo.run("--mad-tags", "demo")
    assert result.ret == 1
    assert repo.statuses() == {"a": "SUCCESS", "b": "SUCCESS"}
    for name in ("first", "last"):
        assert (repo.path / name).read_text() == "a\nb\n"
    result.stdout.fnmatch_lines(["ERROR results: record of a: * (in bad-sink)"])


@pytest.mark.parametrize("name", ["mad_image", "mad_gpus", "mad_data", "mad_credentials", "mad_context"])
def test_a_fixture_that_gives_something_else(repo: Any, name: str) -> None:
    """faults 2.11: an overridden fixture returns nothing or a text / two models / each fails by itself."""
    repo.model("a").model("b")
    scope = '(scope="session")' if name in ("mad_credentials", "mad_context") else ""
    for value, said in (("None", "gives nothing"), ("'text'", "gives a value of type str")):
        add_conftest(repo, f"@pytest.fixture{scope}\ndef {name}():\n    return {value}\n")
        result = repo.run("--mad-tags", "demo")
        assert result.ret == 1
        assert "INTERNALERROR" not in result.stdout.str()
        reasons = [record["reason"] for record in repo.records()][-2:]
        assert all(reason.startswith(f"fixture {name} {said}, not a") for reason in reasons), reasons


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise KeyboardInterrupt", "hook pytest_mad_plan raised KeyboardInterrupt"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("return 'text'", "hook pytest_mad_plan gives a value of type str, not a RunPlan"),
    ],
)
def test_the_plan_hook_may_do_anything(repo: Any, body: str, reason: str) -> None:
    """faults 2.11: pytest_mad_plan raises or returns junk / two models / each fails, the session goes on."""
    repo.model("a").model("b")
    add_conftest(repo, f"def pytest_mad_plan(config, plan):\n    {body}\n")
    assert repo.run("--mad-tags", "demo").ret == 1
    assert [record["reason"] for record in repo.records()] == [reason, reason]


def test_an_overridden_context_reaches_everything(repo: Any) -> None:
    """faults 5.12: mad_context overridden below scripts/x / models there and elsewhere / data, plan and skip
    reasons of the ones, nothing of the others."""
    (repo.path / "data.json").write_text('{"d": {"local": {"path": "DIR"}}}'.replace("DIR", str(repo.path)))
    repo.model("plain", "echo performance: ${OWN:-1} x")
    directory = repo.path / "scripts/own"
    directory.mkdir()
    (directory / "run.sh").write_text("echo performance: ${OWN:-1} x\n")
    (directory / "models.json").write_text(
        '[{"name": "m", "dockerfile": "../../docker/any", "scripts": "run.sh", "n_gpus": "0",'
        ' "tags": ["demo"], "data": "d"}]'
    )
    (directory / "conftest.py").write_text(
        "import dataclasses, pytest\n\n"
        "@pytest.fixture(scope='session')\n"
        "def mad_context(mad_context):\n"
        "    values = {**mad_context.values, 'docker_env_vars': {'OWN': '7'}}\n"
        "    return dataclasses.replace(mad_context, values=values)\n"
    )
    add_conftest(
        repo,
        "seen = []\n\n"
        "def pytest_mad_plan(config, plan):\n"
        "    from pytest_madengine.plugin.keys import session_key\n"
        "    session = config.stash[session_key]\n"
        "    assert 'context' not in vars(session)\n"
        "    own = 'OWN' in session.context.get('docker_env_vars', {})\n"
        "    assert session.data._context is session.context\n"
        "    assert ('OWN' in plan.env) == own\n",
    )
    result = repo.run("--mad-tags", "demo,own/m")
    assert result.ret == 0, result.stdout.str()
    values = {record["model"]: record["metrics"][0]["value"] for record in repo.records()}
    assert values == {"plain": "1", "own/m": "7"}


# ---- many items that never run (faults 2.4) --------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--mad-db", "sqlite:///h.db")])
def test_accounting_for_many_items_costs_as_few_writes_as_for_some(
    repo: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """faults 2.4: the first of 4 and of 40 models fails / -x / a row of each, and the 36 more of them cost no
    syncs, replaced files, journal readings and locks of their own."""
    import fcntl
    import os
    from pathlib import Path

    counts: dict[str, int] = {}

    def counted(name: str, call: Any) -> Any:
        def counting(*args: Any, **more: Any) -> Any:
            if name != "read_bytes" or args[0].name == "journal.jsonl":
                counts[name] = counts.get(name, 0) + 1
            return call(*args, **more)

        return counting

    for module, name in ((os, "fsync"), (fcntl, "flock"), (Path, "replace"), (Path, "read_bytes")):
        monkeypatch.setattr(module, name, counted(name, getattr(module, name)))
    repo.model("bad", "exit 3")
    work = []
    for total in (4, 40):
        while len(repo.entries) < total:
            repo.model(f"m{len(repo.entries)}")
        counts.clear()
        assert repo.run("--mad-tags", "demo", "-x", f"--mad-output={total}/perf.csv", *words).ret == 1
        assert len(repo.rows(f"{total}/perf.csv")) == total
        work.append(dict(counts))
    # A few locks more may come from what the first session left to be swept.
    assert {name: count for name, count in work[1].items() if count > work[0].get(name, 0) + 9} == {}
    assert work[1]["read_bytes"] <= 2


# ---- data providers of users (faults 2.12) ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise ValueError('no\\nstore')", "hook pytest_mad_data_providers: ValueError: no store"),
        ("raise SystemExit(0)", "hook pytest_mad_data_providers: SystemExit: 0"),
        ("__import__('pytest').skip('later')", "hook pytest_mad_data_providers: Skipped: later"),
        ("return 5", "gives a value of type int, not a list of providers"),
        ("return [None]", "gives a value of type list, not a list of providers"),
    ],
)
def test_data_providers_that_cannot_be_had_end_the_session_with_one_line(
    repo: Any, body: str, said: str
) -> None:
    """faults 2.12: the hook raises or gives something else / run / exit status 4, one line, nothing ran."""
    repo.model("m").pytester.makeconftest(f"def pytest_mad_data_providers(config):\n    {body}\n")
    result = repo.run("--mad-tags", "demo")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{said}", "see the conftest.py*"])
    assert "Traceback" not in result.stderr.str()
    assert not repo.records()
