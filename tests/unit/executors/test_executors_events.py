"""The events file and the result made from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.executors.docker.observation import Ending, make_result
from pytest_madengine.executors.docker.supervision import Supervisor
from pytest_madengine.executors.events import Stamp, parse_events
from pytest_madengine.results.result import RunResult
from pytest_madengine.results.scanner import LogFindings
from pytest_madengine.settings import PhaseTimeouts

GOOD = """\
100.000001 10.00 phase prepare
100.1 10.10 step pre-script a.sh
100.2 10.20 commit abc123
101.5 11.50 phase run
103.75 13.75 exit 0
104.0 14.00 phase collect
104.5 14.50 phase handback
104.6 14.60 finished
104.7 14.70 end 0
"""


def result_of(text: str, ending: Ending | None = None, **state: object) -> RunResult:
    supervisor = Supervisor(lambda _: None, PhaseTimeouts())
    for name, value in state.items():
        setattr(supervisor, name, value)
    return make_result(
        parse_events(text), supervisor, ending or Ending("c", 0), LogFindings(), log_file="l",
        log_tail=("t",), multiple_results=None, artifacts=("a",), warnings=["w"],
    )  # fmt: skip


def test_a_complete_file():
    events = parse_events(GOOD)
    assert (events.exit_code, events.commit, events.finished, events.ended) == (0, "abc123", True, True)
    assert events.step == "pre-script a.sh"
    assert events.durations() == pytest.approx({"prepare": 1.499999, "run": 2.25, "collect": 0.7})


def test_durations_survive_a_clock_change():
    text = GOOD.replace("103.75 ", "9103.75 ")
    assert parse_events(text).durations()["run"] == pytest.approx(2.25)


def test_an_old_bash_has_no_fine_clock():
    text = "0 10.00 phase prepare\n0 11.50 phase run\n0 13.75 exit 1\n"
    assert parse_events(text).durations() == pytest.approx({"prepare": 1.5, "run": 2.25})


def test_a_decimal_comma():
    assert parse_events("1,5 10.0 phase run\n").phases["run"] == Stamp(1.5, 10.0)


@given(st.text())
def test_any_text_is_read(text):
    parse_events(text).durations()


@given(st.lists(st.sampled_from([*GOOD.splitlines(), "1 1 failed x y", "1 1 oom", "nan nan exit 1"])))
def test_any_lines_are_read(lines):
    result = result_of("\n".join(lines))
    assert result.ended_in in ("prepare", "run", "collect", "done")


def test_a_good_run():
    result = result_of(GOOD)
    assert (result.exit_code, result.ended_in, result.engine_error) == (0, "done", "")
    assert (result.log_tail, result.artifacts, result.warnings) == (("t",), ("a",), ("w",))


def test_events_about_files_warnings_and_memory():
    events = parse_events("1 1 existing /myworkspace/a b\n1 1 warning careful now\n1 1 oom 3\n")
    assert events.existing == {"/myworkspace/a b"}
    assert (events.warnings, events.oom_kills) == (["careful now"], 3)


def test_failed_steps():
    prepare = "1 1 phase prepare\n2 2 step clone\n3 3 failed 128 clone\n4 4 phase collect\n5 5 finished\n"
    result = result_of(prepare)
    assert (result.ended_in, result.failed_step, result.failed_step_code) == ("prepare", "clone", 128)
    collect = GOOD.replace("104.5 14.50", "104.4 14.4 failed 4 post-script p.sh\n104.5 14.50")
    result = result_of(collect)
    assert (result.ended_in, result.failed_step, result.exit_code) == ("collect", "post-script p.sh", 0)


@pytest.mark.parametrize("phase", ["prepare", "run", "collect"])
def test_a_limit(phase):
    text = "1 1 phase prepare\n1 1 step pre-script x\n2 2 phase run\n3 3 stopping term\n9 9 stopped term\n"
    result = result_of(text, timed_out=phase, timeout=5.0, _stage=None)
    assert (result.timed_out, result.timeout, result.ended_in) == (phase, 5.0, phase)
    assert result.engine_error == ""
    assert result.failed_step == ("" if phase == "run" else "pre-script x")
    assert result.durations["run"] == 1.0


RUNNING = "1 1 phase prepare\n2 2 phase run\n"


@pytest.mark.parametrize(
    ("text", "ending", "state", "error"),
    [
        (RUNNING, Ending("c", 137), {}, "container c was killed from outside (exit status 137)"),
        (RUNNING, Ending("c", 1), {}, "container c ended before its script did (exit status 1)"),
        (RUNNING, Ending("c", None), {}, "container c ended before its script did"),
        (RUNNING, Ending("c", None, lost="lost it"), {}, "lost it"),
        (RUNNING, Ending("c", 137, out_of_memory=True), {}, ""),
        (RUNNING + "3 3 oom 1\n", Ending("c", 137), {}, ""),
        (RUNNING + "3 3 stopping term\n", Ending("c", 143), {}, "container c was stopped from outside"),
        (
            RUNNING + "3 3 stopping lifeline\n",
            Ending("c", 143),
            {},
            "connection to container c broke off",
        ),
        (RUNNING + "3 3 end 137\n", Ending("c", 137), {}, "killed everything in it"),
        (RUNNING, Ending("c", 137), {"interrupted": True, "_stage": None}, ""),
        (RUNNING, Ending("c", None), {"stuck": True}, "the engine could not end container c"),
        ("", Ending("c", 126), {}, "container c ended before its script did (exit status 126)"),
    ],
)
def test_ends_that_nobody_asked_for(text, ending, state, error):
    result = result_of(text, ending, **state)
    assert error in result.engine_error
    assert bool(error) == bool(result.engine_error)
    assert result.exit_code is None
    assert result.ended_in == ("run" if text else "prepare")
    assert result.out_of_memory == (ending.out_of_memory or "oom" in text)


def test_a_container_that_stays():
    assert result_of(GOOD, kept=True).kept_container == "c"
