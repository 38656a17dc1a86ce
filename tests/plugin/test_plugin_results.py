"""Outcomes, records and sinks of whole pytest runs."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest


def test_success_row_properties_and_table(repo: Any, junit_properties: Any) -> None:
    repo.model(
        "dummy",
        "echo performance: 14164 samples_per_second",
        tags=["demo", "fp16"],
        training_precision="fp16",
    )
    result = repo.run("--mad-tags", "demo", "--junitxml", "j.xml", "-o", "junit_family=xunit2")
    result.assert_outcomes(passed=1)
    row = repo.rows()[0]
    assert (row["performance"], row["metric"], row["status"]) == ("14164", "samples_per_second", "SUCCESS")
    assert (row["tags"], row["training_precision"], row["n_gpus"]) == ("demo,fp16", "fp16", "0")
    root = repo.junit()
    values = junit_properties(root.find(".//testcase"))
    assert values["mad.model"] == "dummy"
    assert values["mad.status"] == "SUCCESS"
    assert values["mad.metric.samples_per_second"] == "14164"
    suite = {item.get("name"): item.get("value") for item in root.findall("./testsuite/properties/property")}
    assert suite["mad.session"] == repo.records()[0]["run_id"]
    assert "mad.plugin_version" in suite
    result.stdout.fnmatch_lines(
        ["*MAD models*", "model *status*", "dummy *SUCCESS *14164 samples_per_second*", "1 models: 1 SUCCESS"]
    )


def test_failure_shows_at_most_15_lines(repo: Any, junit_properties: Any) -> None:
    repo.model("bad", "seq 100; echo performance: 5 x; echo boom >&2; exit 3")
    result = repo.run("--mad-tags", "demo", "--junitxml", "j.xml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["bad: FAILURE in run: script exited with 3", "exit status: 3", "  | boom", "log: *bad*.run.live.log"]
    )
    text = result.stdout.str()
    body = text[text.index("bad: FAILURE in run") : text.index("= MAD models")]
    assert len(body.strip().splitlines()) <= 15
    assert "Traceback" not in text
    row = repo.rows()[0]
    assert (row["status"], row["performance"]) == ("FAILURE", "5")
    failure = repo.junit().find(".//testcase/failure")
    assert failure is not None
    assert "boom" in (failure.text or "")
    assert junit_properties(repo.junit().find(".//testcase"))["mad.reason"] == "script exited with 3"


def test_silent_model_fails_with_the_reason(repo: Any) -> None:
    repo.model("silent", "echo nothing to say")
    repo.run("--mad-tags", "demo").assert_outcomes(failed=1)
    assert repo.records()[0]["reason"] == "no performance metric in the log"


def test_skips_have_rows_and_reasons(repo: Any) -> None:
    """Defect 16: a skipped and a deprecated model / run / one SKIPPED row with reason each."""
    repo.model("old", is_deprecated=True).model("big", n_gpus="8")
    result = repo.run("--mad-tags", "demo", "--junitxml", "j.xml")
    result.assert_outcomes(skipped=2)
    assert result.ret == 5
    assert repo.statuses() == {"old": "SKIPPED", "big": "SKIPPED"}
    reasons = {record["model"]: record["reason"] for record in repo.records()}
    assert reasons["old"] == "Model old has been deprecated."
    assert reasons["big"] == "host has no GPU (n_gpus=8); use --mad-cpu to run without devices"
    assert repo.run("--mad-tags", "demo", "--mad-cpu", "--mad-ignore-deprecated").ret == 0


def test_multiple_results_are_subtests_and_rows(repo: Any) -> None:
    script = "printf 'model,performance,metric,temp\\n1,10,sps,5\\n2,,sps,6\\n' > out.csv"
    repo.model("multi", script, multiple_results="out.csv")
    result = repo.run("--mad-tags", "demo", "--junitxml", "j.xml", "-v")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*SUBFAILED*2*"])
    assert repo.statuses() == {"multi_1": "SUCCESS", "multi_2": "FAILURE"}
    assert len(repo.junit().findall(".//testcase")) == 1
    assert "1 of 2 rows have no performance" in repo.records()[0]["reason"]


def test_no_matching_dockerfile_is_a_failure_row(repo: Any) -> None:
    """Defect 3: no matching Dockerfile / run / FAILURE row and exit status not 0."""
    repo.model("lost", dockerfile="docker/none")
    result = repo.run("--mad-tags", "demo")
    assert result.ret == 1
    result.assert_outcomes(errors=1)
    assert repo.statuses() == {"lost": "FAILURE"}
    assert repo.records()[0]["reason"] == "no Dockerfile matches docker/none.*"


def test_missing_credential_is_an_error_of_that_item(repo: Any) -> None:
    repo.model("private", cred="AMD_GITHUB", owner="who@x")
    repo.run("--mad-tags", "demo").assert_outcomes(errors=1)
    expected = (
        "Credentials(AMD_GITHUB) to run model not found in credential.json; "
        "Please contact the model owner, who@x."
    )
    assert repo.records()[0]["reason"] == expected


def test_the_exception_hook_of_the_predecessor(repo: Any) -> None:
    repo.model("exc", args="--exception")
    repo.run("--mad-tags", "demo").assert_outcomes(errors=1)
    assert repo.records()[0]["reason"] == "Exception test!"


def test_planted_secrets_are_in_no_file(repo: Any) -> None:
    """Defect 9: a planted token / run / it occurs in no file and no console output."""
    (repo.path / "credential.json").write_text(
        json.dumps({"K": {"username": "u", "password": "hunter2secret"}})
    )
    repo.model("leaky", 'echo "pw $K_PASSWORD"; echo performance: 1 x; exit 1', cred="K")
    result = repo.run("--mad-tags", "demo", "--junitxml", "j.xml", "--mad-plan")
    assert "hunter2secret" not in result.stdout.str()
    result = repo.run("--mad-tags", "demo", "--junitxml", "j.xml", "--showlocals")
    assert result.ret == 1
    assert "hunter2secret" not in result.stdout.str() + result.stderr.str()
    assert "pw ***" in result.stdout.str()
    for path in repo.path.rglob("*"):
        # The raw log is written by this test's executor; the real one redacts it.
        if path.is_file() and path.name != "credential.json" and not path.name.endswith(".run.live.log"):
            assert b"hunter2secret" not in path.read_bytes(), path


def test_plan_runs_and_writes_nothing(repo: Any) -> None:
    repo.model("dummy", "touch ran", env_vars={"A": "1"})
    result = repo.run("--mad-tags", "demo:bs=4", "--mad-plan")
    assert result.ret == 0
    text = result.stdout.str()
    assert re.search(r"A\b.*=.*1.*model", text)
    assert "--bs 4" in text
    assert not repo.rows()
    assert not (repo.path / "mad-results").exists()
    assert not (repo.path / "scripts/dummy/ran").exists()


def test_existing_perf_csv_keeps_its_header(repo: Any) -> None:
    (repo.path / "perf.csv").write_text("status,performance,metric,model\n")
    repo.model("m").run("--mad-tags", "demo")
    assert (repo.path / "perf.csv").read_text() == "status,performance,metric,model\nSUCCESS,1,sps,m\n"


def test_foreign_perf_csv_stops_before_anything_runs(repo: Any) -> None:
    (repo.path / "perf.csv").write_text("a,b\n1,2\n")
    result = repo.model("m").run("--mad-tags", "demo")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*perf.csv*"])
    assert (repo.path / "perf.csv").read_text() == "a,b\n1,2\n"


def test_perf_csv_schema_v1(repo: Any) -> None:
    repo.model("m", n_gpus="-1").run("--mad-tags", "demo", "--mad-perf-csv-schema", "v1", "--mad-cpu")
    row = repo.rows()[0]
    assert "nnodes" not in row
    assert row["n_gpus"] == "-1"


def test_user_sink_and_finish_hook(repo: Any) -> None:
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text()
        + "\n\ndef pytest_mad_result(record):\n    print('SINK', record.item_id, record.outcome)\n"
        + "\n\ndef pytest_mad_finish(records):\n    print('END', len(records))\n"
    )
    result = repo.model("m").model("n").run("--mad-tags", "demo", "-s")
    result.stdout.fnmatch_lines(["*SINK m SUCCESS*", "*SINK n SUCCESS*", "*END 2*"])


def test_failing_user_sink_fails_the_session_and_loses_nothing(repo: Any) -> None:
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text() + "\n\ndef pytest_mad_result(record):\n    raise ValueError('sink is down')\n"
    )
    result = repo.model("m").run("--mad-tags", "demo")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["ERROR results: *sink is down*"])
    assert repo.statuses() == {"m": "SUCCESS"}


def test_metric_parser_hook(repo: Any) -> None:
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text()
        + "\nfrom pytest_madengine.results.record import Metric\n"
        + "def pytest_mad_parse_metrics(log):\n"
        + "    text = Path(log).read_text()\n"
        + "    return [Metric(text.split('=')[1].strip(), 'tps')] if 'throughput=' in text else None\n"
    )
    repo.model("m", "echo throughput=77").run("--mad-tags", "demo").assert_outcomes(passed=1)
    assert [(row["performance"], row["metric"]) for row in repo.rows()] == [("77", "tps")]


_ANSWERS = {
    "empty": ("[]", "found no metric: its answer is empty"),
    "float": ("1.5", "returned 1.5 (float), which is not a list of metrics"),
    "text": ("'5'", "which is not a list of metrics"),
    "single": ("Metric('5', 'x')", "which is not a list of metrics"),
    "dictionary": ("{'x': 5}", "which is not a list of metrics"),
    "tuples": ("[('5', 'x')]", "entry 1 of pytest_mad_parse_metrics is a tuple, not a Metric"),
    "no text": ("[Metric(None, 'x')]", "its value is None (NoneType), not a text"),
    "no name": ("[Metric('5', 7)]", "its name is 7 (int), not a text"),
    "wrong cells": ("[Metric('5', 'x', extra={'a': 1})]", "its extra is not a mapping of texts"),
    "nan": ("[Metric('nan', 'x')]", "1 of 1 metrics have no performance: x"),
    "float nan": ("[Metric(float('nan'), 'x'), Metric('5', 'y')]", "1 of 2 metrics have no performance: x"),
    "ambiguous": ("[Metric('1 234', 'x')]", "1 of 1 metrics have an ambiguous number: x"),
    "failure": ("[Metric('5', 'x', outcome=Outcome.FAILURE)]", "1 of 1 metrics have status FAILURE: x"),
    "word": ("[Metric('5', 'x', outcome='Err')]", "1 of 1 metrics have status FAILURE: x"),
    "endless": ("(Metric('5', 'x') for _ in itertools.count())", "returned more than 10000 metrics"),
    "raises": ("1 / 0", "ZeroDivisionError: division by zero"),
    "number": ("iter([Metric(5, 'x'), Metric('1,234.5', 'y')])", ""),
}


def test_whatever_the_parser_hook_returns(repo: Any) -> None:
    """faults 1.15: given any answer of the hook, then row, record and exit status agree, with a reason."""
    path = repo.path / "conftest.py"
    branches = "".join(
        f"    if plan.model == {name!r}: return {answer}\n" for name, (answer, _) in _ANSWERS.items()
    )
    path.write_text(
        path.read_text()
        + "\nimport itertools\nfrom pytest_madengine.results.record import Metric, Outcome\n"
        + f"def pytest_mad_parse_metrics(plan):\n{branches}"
    )
    for name in _ANSWERS:
        repo.model(name, "echo performance: 1 own")
    result = repo.run("--mad-tags", "demo")
    result.assert_outcomes(passed=1, failed=len(_ANSWERS) - 1)
    assert result.ret == 1
    records = {record["item_id"]: record for record in repo.records()}
    for name, (_, reason) in _ANSWERS.items():
        statuses = {row["status"] for row in repo.rows() if row["model"] == name}
        assert "FAILURE" in statuses if reason else statuses == {"SUCCESS"}, name
        assert records[name]["outcome"] == ("FAILURE" if reason else "SUCCESS")
        assert reason in records[name]["reason"]
        assert bool(records[name]["reason"]) == bool(reason)
    values = [row["performance"] for row in repo.rows() if row["model"] == "number"]
    assert values == ["5", "1234.5"]


def test_plan_hook_changes_the_run(repo: Any) -> None:
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text()
        + "\ndef pytest_mad_plan(plan):\n"
        + "    script = dataclasses.replace(plan.script, run_line='echo performance: 9 y')\n"
        + "    return dataclasses.replace(plan, script=script)\n"
    )
    repo.model("m").run("--mad-tags", "demo")
    assert repo.rows()[0]["performance"] == "9"


def test_mad_run_in_a_plain_test(repo: Any) -> None:
    repo.model("m", "echo performance: ${bs:-1} sps")
    repo.pytester.makepyfile(
        test_scaling="""
        def test_scaling(mad_run):
            one, two = mad_run("m"), mad_run("m:bs=2")
            assert two.metrics[0].number == 2 * one.metrics[0].number
        """
    )
    result = repo.run("--mad-root", ".", "test_scaling.py")
    result.assert_outcomes(passed=1)
    assert [row["performance"] for row in repo.rows()] == ["1", "2"]


def test_mad_run_without_activation_says_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_x(mad_run): pass")
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["*pytest-madengine is not active: give --mad-root*"])


def test_autouse_and_overridden_fixtures_apply(repo: Any) -> None:
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text()
        + "\n@pytest.fixture(autouse=True)\ndef around():\n    print('AROUND')\n    yield\n"
        + "\n@pytest.fixture(scope='module', autouse=True)\n"
        + "def module_wide():\n    print('MODULE')\n    yield\n"
        + "\n@pytest.fixture(scope='session')\n"
        + "def mad_credentials():\n    return {'V': {'username': 'a', 'password': 'fromvault'}}\n"
    )
    repo.model("m", 'echo "$V_PASSWORD" | tr a-z A-Z; echo performance: 1 x', cred="V")
    result = repo.run("--mad-tags", "demo", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*MODULE*", "*AROUND*"])


def test_keyboard_interrupt_records_the_item_and_the_rest(repo: Any) -> None:
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text()
        + "\n@pytest.fixture\ndef mad_data(mad_model):\n"
        + "    if mad_model.name == 'two':\n        raise KeyboardInterrupt\n    return ()\n"
    )
    repo.model("one").model("two").model("three")
    result = repo.run("--mad-tags", "demo", subprocess=True)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert repo.statuses() == {"one": "SUCCESS", "two": "FAILURE", "three": "SKIPPED"}
    assert repo.records()[1]["reason"] == "interrupted"


@pytest.mark.slow
def test_worker_crash_is_one_failure_row(repo: Any) -> None:
    repo.model("fine").model("killer", "kill -9 $PPID; sleep 5").model("also")
    result = repo.run("--mad-tags", "demo", "-n", "2", subprocess=True)
    assert result.ret == 1
    assert sorted(row["model"] for row in repo.rows()) == ["also", "fine", "killer"]
    assert repo.statuses()["killer"] == "FAILURE"
    reason = next(record["reason"] for record in repo.records() if record["model"] == "killer")
    assert "crashed" in reason


def test_html_has_columns_and_links(repo: Any) -> None:
    repo.model("m", "echo performance: 3.5 '<b>'").run("--mad-tags", "demo", "--html", "h.html")
    page = (repo.path / "h.html").read_text()
    assert "3.5" in page
    assert "run.live.log" in page


def test_side_files(repo: Any) -> None:
    repo.model("m").run("--mad-tags", "demo")
    entry = json.loads((repo.path / "perf_entry.json").read_text())
    assert entry["model"] == "m"
    assert (repo.path / "perf_super.json").exists()
    assert "<table" in (repo.path / "perf.html").read_text()


def test_heartbeat_off_a_terminal(repo: Any) -> None:
    repo.model("slow", "sleep 2.5; echo performance: 1 x")
    result = repo.run("--mad-tags", "demo", "--mad-heartbeat", "1", subprocess=True)
    result.stdout.fnmatch_lines(["mad: 0/1 done, running: slow * s"])


def test_live_output_is_prefixed(repo: Any) -> None:
    repo.model("m", "echo hello from m; echo performance: 1 x")
    repo.run("--mad-tags", "demo", "--mad-live").stdout.fnmatch_lines(["[[]m[]] hello from m"])


def test_only_key_names_of_credentials_are_printed(repo: Any) -> None:
    """Defect 28: a credential.json / any command / only key names are printed."""
    credential = {"KEY": {"username": "visible-user", "password": "hidden-word"}}
    (repo.path / "credential.json").write_text(json.dumps(credential))
    repo.model("m", cred="KEY")
    for arguments in (["--mad-plan"], ["--mad-list-tags"], ["--collect-only"], ["-vv"]):
        text = repo.run("--mad-tags", "demo", *arguments).stdout.str()
        assert "hidden-word" not in text
        assert "visible-user" not in text


def test_a_crash_shows_no_values_of_local_variables(repo: Any) -> None:
    """Defect 38: a crash with credentials in local variables / run / the traceback shows no values."""
    credential = {"KEY": {"username": "u", "password": "hidden-word"}}
    (repo.path / "credential.json").write_text(json.dumps(credential))
    path = repo.path / "conftest.py"
    path.write_text(
        path.read_text()
        + "\n@pytest.fixture\ndef mad_data(mad_model, mad_credentials):\n"
        + "    plain = mad_credentials['KEY']['password'].reveal()\n"
        + "    raise ValueError('crash with ' + plain)\n"
    )
    result = repo.model("m", cred="KEY").run(
        "--mad-tags", "demo", "--showlocals", "--tb=long", "--junitxml", "j.xml", "--html", "h.html"
    )
    result.assert_outcomes(errors=1)
    assert "crash with ***" in result.stdout.str()
    for path in [*repo.path.glob("*.xml"), *repo.path.glob("*.html"), *repo.path.glob("perf*")]:
        assert "hidden-word" not in path.read_text(), path
    assert "hidden-word" not in result.stdout.str()
    assert repo.records()[0]["reason"] == "ValueError: crash with ***"


def test_performance_is_found_without_live_output(repo: Any) -> None:
    """Defect 43: no --live-output / run / performance is found, SUCCESS."""
    repo.model("m", "echo performance: 3 x").run("--mad-tags", "demo")
    assert repo.statuses() == {"m": "SUCCESS"}


def test_the_record_names_the_run_log_and_the_image_that_ran(repo: Any) -> None:
    """Defect 61: a build before the run / record / log_file is the run log, docker_image what ran."""
    repo.model("m").run("--mad-tags", "demo")
    record = repo.records()[0]
    assert record["log_file"].endswith(".run.live.log")
    assert record["columns"]["docker_image"] == record["image"]["name"] == repo.rows()[0]["docker_image"]


def test_tools_config_and_environment_collector_options(repo: Any) -> None:
    """Defect 17: --tools-config, --sys-env-details / run / each works as documented."""
    tools = {"tools": {"mine": {"cmd": "env MINE=1", "env_vars": {"FROM_TOOL": "yes"}}}}
    (repo.path / "my-tools.json").write_text(json.dumps(tools))
    repo.model("m", 'echo "tool $FROM_TOOL $MINE"; echo performance: 1 x; env | grep -c ^MINE=1')
    context = "{'tools': [{'name': 'mine'}]}"
    common = ["--mad-tags", "demo", "--mad-context", context]
    plan = repo.run(*common, "--mad-tools-config=my-tools.json", "--mad-plan").stdout.str()
    assert "env MINE=1 bash run.sh" in plan
    assert "run_rocenv_tool.sh" in plan
    off = repo.run(*common, "--mad-tools-config=my-tools.json", "--mad-plan", "--mad-sys-env-details=off")
    assert "run_rocenv_tool.sh" not in off.stdout.str()
    unknown = repo.run(*common)
    assert unknown.ret == pytest.ExitCode.USAGE_ERROR
    unknown.stderr.fnmatch_lines(["*unknown tool 'mine'*"])
    repo.run(*common, "--mad-tools-config=my-tools.json").assert_outcomes(passed=1)
    assert any("tool yes 1" in line for line in repo.records()[0]["log_tail"])


def test_warnings_of_runs_are_shown_at_the_end(repo: Any) -> None:
    script = "echo 'Traceback (most recent call last)'; echo performance: 1 pass"
    result = repo.model("m", script).model("n", script).run("--mad-tags", "demo")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["warning: m and 1 more: *Traceback (most recent call last)*"])


def test_session_ids_sort_by_time_within_a_second() -> None:
    """``--mad-resume`` takes the last session; two quick sessions must not swap."""
    import re

    from pytest_madengine.session.session import new_run_id

    assert re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{4}", new_run_id())


def test_an_interrupt_while_results_are_written_loses_none(repo: Any) -> None:
    """Given an interrupt that arrives while a result is handed to the sinks / run / the row is there, the
    session ends as interrupted, and what did not start says so."""
    repo.model("first").model("second")
    conftest = repo.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + """
import os, signal

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_mad_result(record):
    if record.item_id == "first":
        os.kill(os.getpid(), signal.SIGINT)
    return (yield)
"""
    )
    result = repo.run("--mad-tags=all", subprocess=True)
    assert result.ret == 2
    assert repo.statuses() == {"first": "SUCCESS", "second": "SKIPPED"}
    assert [record["item_id"] for record in repo.records()] == ["first", "second"]
