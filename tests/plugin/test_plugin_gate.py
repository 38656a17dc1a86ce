"""The performance gate in whole pytest runs: verdicts, re-runs, outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

#: Prints the first of the values that are left for a model, and keeps the last.
SCRIPT = """f="$MAD_TEST_VALUES/{name}"; v=$(head -n1 "$f"); echo run >> "$f.runs"
[ "$(wc -l < "$f")" -gt 1 ] && sed -i 1d "$f"
[ "$v" = crash ] && exit 3
echo "performance: $v samples_per_second"
"""
DB = "sqlite:///history.db"


class Suite:
    """A repository whose models print what a test says, and its sessions."""

    def __init__(self, repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repo = repo
        self.values = repo.path / "values"
        self.values.mkdir()
        monkeypatch.setenv("MAD_TEST_VALUES", str(self.values))

    def add(self, *names: str, **fields: Any) -> None:
        for name in names:
            self.repo.model(name, SCRIPT.format(name=name), **fields)

    def say(self, *values: object, model: str = "m") -> None:
        """The values of the next runs."""
        (self.values / model).write_text("".join(f"{value}\n" for value in values))
        (self.values / f"{model}.runs").unlink(missing_ok=True)

    def runs(self, model: str = "m") -> int:
        path = self.values / f"{model}.runs"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def session(self, *args: str, gate: str = "fail", db: str = f"--mad-db={DB}") -> Any:
        chosen = [f"--mad-gate={gate}"] if gate else []
        return self.repo.run("--mad-tags", "demo", "--junitxml", "j.xml", *filter(None, [db]), *chosen, *args)

    def remember(self, *values: float, models: Sequence[str] = ("m",), host: str = "") -> None:
        """Earlier sessions with these values, made of one real session."""
        from pytest_madengine.history.store import HistoryStore
        from pytest_madengine.results.record import RunRecord

        for model in models:
            self.say(values[0], model=model)
        self.repo.run("--mad-tags", "demo", "--mad-gate=off")
        start = datetime.now(timezone.utc) - timedelta(days=len(values) + 1)
        records = []
        for number, value in enumerate(values):
            at = (start + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
            for record in self.repo.records():
                first, *others = record["metrics"]
                change = {"run_id": f"run{number}", "finished": at, "gate": {}}
                change["metrics"] = [{**first, "value": str(value)}, *others]
                if host:
                    change["host"] = {**record["host"], "hostname": host}
                records.append(RunRecord.from_dict({**record, **change}))
        with HistoryStore(f"sqlite:///{self.repo.path}/history.db") as store:
            store.add(records)
        lines = (json.dumps(record.to_dict()) + "\n" for record in records)
        (self.repo.path / "earlier.jsonl").write_text("".join(lines))
        header, row = (self.repo.path / "perf.csv").read_text().splitlines()[:2]
        rows = (row.replace(f",{values[0]},", f",{value},") for value in values)
        (self.repo.path / "earlier.csv").write_text("\n".join((header, *rows)) + "\n")

    def last(self, model: str = "m") -> dict[str, Any]:
        """The newest record of a model."""
        newest: dict[str, Any] = [one for one in self.repo.records() if one["model"] == model][-1]
        return newest


STEADY = (100, 101, 99, 100, 100.5, 99.5, 100, 101, 99, 100)


@pytest.fixture
def suite(repo: Any, monkeypatch: pytest.MonkeyPatch) -> Suite:
    return Suite(repo, monkeypatch)


def test_a_value_as_before_is_green_and_runs_once(suite: Suite, junit_properties: Any) -> None:
    """Given ten runs around 100, when 100 is measured, then the test passes after one run."""
    suite.add("m")
    suite.remember(*STEADY)
    suite.say(100)
    result = suite.session()
    result.assert_outcomes(passed=1)
    assert (result.ret, suite.runs()) == (0, 1)
    gate = suite.last()["gate"]
    assert (gate["verdict"], gate["mode"], gate["metrics"][0]["n"]) == ("pass", "fail", 10)
    assert suite.repo.rows()[-1]["relative_change"] == "100"
    values = junit_properties(suite.repo.junit().find(".//testcase"))
    assert (values["mad.gate"], values["mad.runs"]) == ("pass", "1")
    result.stdout.fnmatch_lines(["performance: 1 pass"])


def test_a_confirmed_regression_fails_the_test_only(suite: Suite, junit_properties: Any) -> None:
    """Given ten runs around 100 on another host, and a script that was edited since, when 87 and 88 are
    measured, then the test fails with one sentence; the run is a SUCCESS, and both runs keep their logs."""
    suite.add("m")
    suite.remember(*STEADY, host="elsewhere")
    script = suite.repo.path / "scripts/m/run.sh"
    script.write_text(script.read_text() + "# edited\n")
    suite.say(87, 88)
    result = suite.session()
    result.assert_outcomes(failed=1)
    assert (result.ret, suite.runs()) == (1, 2)
    record = suite.last()
    gate = record["gate"]
    assert (record["outcome"], gate["verdict"], gate["change"]) == ("SUCCESS", "regression", "-12.0 %")
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["SUCCESS", "SUCCESS"]
    row = suite.repo.rows()[-1]
    assert (row["status"], row["performance"], row["relative_change"]) == ("SUCCESS", "88", "88")
    sentence = (
        "samples_per_second 88 is 12.0 % below 100 (median of 10 runs, band 5.0 %), confirmed by 1 re-run; "
        f"changed since: hostname elsewhere -> {record['host']['hostname']}"
    )
    failure = suite.repo.junit().find(".//testcase/failure")
    assert failure is not None
    assert failure.get("message") == sentence
    assert "Traceback" not in result.stdout.str()
    values = junit_properties(suite.repo.junit().find(".//testcase"))
    shown = [values[f"mad.{name}.samples_per_second"] for name in ("gate", "baseline", "change", "band")]
    assert (*shown, values["mad.runs"]) == ("regression", "100", "-12", "5", "2")
    result.stdout.fnmatch_lines(["*status*change*", "m *SUCCESS*-12.0 %*", f"  regression: m: {sentence}"])
    place = suite.repo.path / "mad-results" / record["run_id"]
    assert "87" in (place / record["log_file"]).read_text()
    (again,) = (place / Path(record["log_file"]).parent / "re-run-1").glob("*.run.live.log")
    assert "88" in again.read_text()


def test_a_loss_that_is_not_confirmed_is_green(suite: Suite) -> None:
    """Given ten runs around 100, when 88 and then 100 are measured, then the better one counts, and the first
    run is the one of the history."""
    from pytest_madengine.history.store import HistoryStore

    suite.add("m")
    suite.remember(*STEADY)
    suite.say(88, 100)
    result = suite.session()
    assert (result.ret, suite.runs()) == (0, 2)
    record = suite.last()
    assert (record["metrics"][0]["value"], record["gate"]["verdict"]) == ("100", "pass")
    assert record["gate"]["metrics"][0]["runs"] == [88.0, 100.0]
    with HistoryStore(f"sqlite:///{suite.repo.path}/history.db") as store:
        rows = store.database.read(
            lambda c: c.exec_driver_sql("SELECT number, first_number, verdict FROM mad_metrics").all()
        )
    assert tuple(rows[-1]) == (100.0, 88.0, "pass")


def test_modes(suite: Suite) -> None:
    """Given a regression, then ``warn``, which a history alone makes it, passes with a warning; ``off`` and
    no source say nothing; within the tolerance it is none."""
    suite.add("m")
    suite.remember(*STEADY)
    suite.say(88)
    result = suite.session(gate="")
    result.assert_outcomes(passed=1)
    record = suite.last()
    assert (record["gate"]["mode"], record["gate"]["verdict"]) == ("warn", "regression")
    assert any("12.0 % below 100" in text for text in record["warnings"])
    assert result.stdout.str().count("12.0 % below 100") == 1
    for args in ({"gate": "off"}, {"gate": "", "db": ""}):
        assert suite.session(**args).ret == 0
        assert suite.last()["gate"] == {}
    assert suite.session("--mad-gate-tolerance=16%").ret == 0
    assert suite.runs() == 5


def test_few_runs(suite: Suite) -> None:
    """Given three runs, when 88 is measured, then it is said and green."""
    suite.add("m")
    suite.remember(100, 101, 99)
    suite.say(88)
    assert suite.session().ret == 0
    gate = suite.last()["gate"]
    assert (gate["verdict"], gate["reason"]) == ("inconclusive", "history")
    assert gate["message"].endswith("inconclusive: only 3 runs are known")


def test_no_baseline(suite: Suite) -> None:
    """Given no history, when a value is measured, then it is green and counted; ``missing = fail``: red."""
    suite.add("m")
    suite.say(88)
    result = suite.session()
    assert result.ret == 0
    assert suite.last()["gate"]["verdict"] == "no-baseline"
    result.stdout.fnmatch_lines(["performance: 1 no-baseline"])
    references(suite, gate={"missing": "fail"})
    result = suite.session()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no baseline: 1 comparable run, 3 are needed*"])


@pytest.mark.parametrize("source", ["earlier.jsonl", "earlier.csv"])
def test_histories_in_files(suite: Suite, source: str) -> None:
    """Given earlier values in a file, when 88 is measured twice, then it is red as with a database."""
    suite.add("m")
    suite.remember(*STEADY)
    suite.say(88)
    result = suite.session(f"--mad-gate-history={source}", db="")
    assert (result.ret, suite.runs()) == (1, 2)
    (metric,) = suite.last()["gate"]["metrics"]
    assert (metric["verdict"], metric["baseline"], metric["n"]) == ("regression", 100.0, 10)


def test_a_history_that_cannot_be_read(suite: Suite) -> None:
    """Given a history that cannot be read, then ``fail`` is a usage error and ``warn`` a warning."""
    suite.add("m")
    suite.say(88)
    source = "--mad-gate-history=sqlite:////nowhere/x.db"
    result = suite.session(source, db="")
    assert (result.ret, suite.runs()) == (4, 0)
    assert "unable to open database file" in result.stderr.str()
    result = suite.session(source, db="", gate="warn")
    assert (result.ret, suite.runs()) == (0, 1)
    assert "unable to open database file" in result.stdout.str()
    assert suite.last()["gate"]["verdict"] == "no-baseline"


def test_fail_without_anything_to_compare_with(suite: Suite) -> None:
    """Never green silence."""
    suite.add("m")
    suite.say(88)
    result = suite.session(db="")
    assert result.ret == 4
    assert "--mad-gate=fail has nothing to compare with" in result.stderr.str()


def test_the_budget_of_a_session(suite: Suite) -> None:
    """Given five models that all lost, then three are measured again and the others are inconclusive; workers
    have one budget."""
    names = [f"m{number}" for number in range(5)]
    suite.add(*names)
    suite.remember(*STEADY, models=names)
    for workers in ((), ("-n", "2")):
        shutil.copy(suite.repo.path / "history.db", suite.repo.path / "copy.db")
        for name in names:
            suite.say(88, model=name)
        suite.session(*workers, db="--mad-db=sqlite:///copy.db").assert_outcomes(failed=3, passed=2)
        assert sum(suite.runs(name) for name in names) == 8
        verdicts = sorted(suite.last(name)["gate"]["verdict"] for name in names)
        assert verdicts == ["inconclusive"] * 2 + ["regression"] * 3
        assert {suite.last(name)["gate"]["reason"] for name in names} == {"", "budget"}


def test_a_re_run_that_fails_confirms_nothing(suite: Suite) -> None:
    """Given 88 and then a crash, then the first run's SUCCESS stays, and it is said."""
    suite.add("m")
    suite.remember(*STEADY)
    suite.say(88, "crash")
    result = suite.session()
    assert (result.ret, suite.runs()) == (0, 2)
    record = suite.last()
    assert (record["outcome"], record["exit_code"], record["gate"]["reason"]) == ("SUCCESS", 0, "budget")
    assert record["warnings"] == ["re-run 1 of the performance gate failed in run: script exited with 3"]
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["SUCCESS", "FAILURE"]


def test_rows_have_verdicts_of_their_own(suite: Suite, junit_properties: Any) -> None:
    """Given two rows of which one lost, then the item is red, and each row has its verdict."""
    script = """f="$MAD_TEST_VALUES/m"; v=$(head -n1 "$f")
printf 'model,performance,metric\\na,%s,samples_per_second\\nb,50,samples_per_second\\n' "$v" > out.csv
"""
    suite.repo.model("m", script, multiple_results="out.csv")
    suite.remember(*STEADY)
    suite.say(88)
    assert suite.session().ret == 1
    verdicts = {entry["row"]: entry["verdict"] for entry in suite.last()["gate"]["metrics"]}
    assert verdicts == {"m_a": "regression", "m_b": "pass"}
    changes = {row["model"]: row["relative_change"] for row in suite.repo.rows()[-2:]}
    assert changes == {"m_a": "88", "m_b": "100"}
    values = junit_properties(suite.repo.junit().find(".//testcase"))
    assert values["mad.gate.a.samples_per_second"] == "regression"
    assert "a: samples_per_second 88 is 12.0 % below 100" in suite.last()["gate"]["message"]


def references(suite: Suite, **lists: Any) -> None:
    (suite.repo.path / "mad-references.json").write_text(json.dumps(lists))


def test_a_reference_alone(suite: Suite) -> None:
    """Given a reference and no history, when both runs are below, then it is red."""
    suite.add("m")
    references(suite, references=[{"model": "m", "metrics": {"samples_per_second": [100, -0.05, 0.1]}}])
    suite.say(88, 88)
    result = suite.session(db="")
    assert (result.ret, suite.runs()) == (1, 2)
    assert suite.last()["gate"]["message"].startswith(
        "samples_per_second 88 is 12.0 % below 100 (the reference, limit 5.0 %), confirmed by 1 re-run"
    )
    suite.say(97)
    assert suite.session(db="").ret == 0


def test_a_reference_in_the_entry(suite: Suite) -> None:
    """Given a reference in models.json, then it is judged, and by default warned."""
    suite.add("m", reference={"metrics": {"samples_per_second": [100, -0.05, 0.1]}})
    suite.say(88, 88)
    result = suite.session(gate="", db="")
    assert (result.ret, suite.runs()) == (0, 2)
    assert suite.last()["gate"]["verdict"] == "regression"


def test_an_expected_regression(suite: Suite) -> None:
    """Given an expected failure, then the test is xfailed until its day, and fails after it."""
    suite.add("m")
    suite.remember(*STEADY)
    today = datetime.now(timezone.utc).date()
    for days, outcome in ((0, {"xfailed": 1}), (-1, {"failed": 1})):
        until = (today + timedelta(days=days)).isoformat()
        references(suite, xfail=[{"model": "m", "metric": "*", "reason": "issue 123", "until": until}])
        suite.say(88, 88)
        result = suite.session()
        result.assert_outcomes(**outcome)
        assert suite.last()["outcome"] == "SUCCESS"
    assert f"xfail of {until} expired" in suite.last()["gate"]["message"]
    suite.say(100)
    assert suite.session().ret == 0
    assert any("is no longer needed" in text for text in suite.last()["warnings"])


def test_an_accepted_change(suite: Suite) -> None:
    """Given an accepted level of 88, then 88 is green and 78 is red."""
    suite.add("m")
    suite.remember(*STEADY)
    suite.say(88, 88)
    assert suite.session().ret == 1
    mark = {"model": "m", "metric": "samples_per_second", "from": suite.last()["run_id"], "value": 88}
    mark |= {"reason": "new kernel", "by": "me", "at": suite.last()["finished"]}
    references(suite, accepted=[mark])
    suite.say(88)
    assert suite.session().ret == 0
    suite.say(78, 78)
    assert suite.session().ret == 1


def test_references_that_cannot_be_used(suite: Suite) -> None:
    """Given a references file with a mistake, then ``fail`` is a usage error that names it."""
    suite.add("m")
    references(suite, gate={"confrm": 2})
    suite.say(100)
    result = suite.session()
    assert (result.ret, suite.runs()) == (4, 0)
    assert 'mad-references.json: "gate" has no setting "confrm"' in result.stderr.str()


def test_two_references_that_are_equally_specific(suite: Suite) -> None:
    """Given two that apply, then it is not judged, which ``fail`` does not take for green."""
    suite.add("m")
    one = {"model": "m", "metrics": {"samples_per_second": [100, -0.05, 0.1]}}
    references(suite, references=[one, one])
    suite.say(100)
    result = suite.session(db="")
    result.assert_outcomes(failed=1)
    assert "both apply to m samples_per_second" in result.stdout.str()
    assert suite.last()["outcome"] == "SUCCESS"


def test_mad_run_gives_the_verdict(suite: Suite) -> None:
    """Given a regression in a plain test, then its record says so; the test decides."""
    suite.add("m")
    suite.remember(*STEADY)
    suite.say(88, 88)
    (suite.repo.path / "test_x.py").write_text(
        "def test_x(mad_run):\n"
        "    record = mad_run('m')\n"
        "    assert (record.outcome, record.gate['verdict']) == ('SUCCESS', 'regression')\n"
    )
    result = suite.repo.run("test_x.py", "--mad-root=.", "--mad-gate=fail", f"--mad-db={DB}")
    result.assert_outcomes(passed=1)
    assert suite.runs() == 2


def test_nothing_of_the_gate_is_imported_without_a_source(suite: Suite) -> None:
    """Zero cost: no source, no import."""
    suite.add("m")
    suite.say(100)
    (suite.repo.path / "test_z.py").write_text(
        "import sys\n"
        "def test_z():\n"
        "    names = [n for n in sys.modules if n.startswith('pytest_madengine.gate')]\n"
        "    assert names == []\n"
        "    assert 'pytest_madengine.pipeline.gate' not in sys.modules\n"
    )
    result = suite.repo.run("--mad-tags", "demo", "models.json", "test_z.py", subprocess=True)
    result.assert_outcomes(passed=2)
