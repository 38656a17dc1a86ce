"""Section 10.3: the reason of a failed clone says what git or ssh said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.results.clonecause import clone_cause
from pytest_madengine.results.outcome import judge
from pytest_madengine.results.result import RunResult

BEGIN = ("USER: root", "--- clone", "Cloning into '/myworkspace/proj'...")
END = ("ERROR: clone failed with status 128", "fatal: of another step")
SSH = ("fatal: Could not read from remote repository.", "", "Please make sure you have ...")


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        (
            ("fatal: Authentication failed for 'http://h/p.git/'",),
            "Authentication failed for 'http://h/p.git/'",
        ),
        (("Host key verification failed.", *SSH), "Host key verification failed."),
        (SSH, "Could not read from remote repository."),
        (("error: RPC failed", "fatal: early EOF\r", "done"), "early EOF"),
        (("no such thing",), "no such thing"),
        (("fatal: " + "x" * 300,), "x" * 199 + "…"),
    ],
    ids=["password", "ssh", "ssh-silent", "last-fatal", "no-fatal", "long"],
)
def test_the_line_that_explains(lines: tuple[str, ...], cause: str) -> None:
    assert clone_cause((*BEGIN, *lines, *END)) == cause
    assert clone_cause((*BEGIN, *lines)) == cause


def test_nothing_was_said() -> None:
    assert clone_cause(()) == ""
    assert clone_cause(("fatal: before the step", "--- clone", *END)) == ""
    assert clone_cause(("fatal: the step is not among the lines",)) == ""


def test_the_reason_of_the_verdict() -> None:
    tail = ("--- clone", "the image has no git", "ERROR: clone failed with status 127")
    result = RunResult(None, "prepare", failed_step="clone", failed_step_code=127, log_tail=tail)
    assert judge(result).reason == "clone failed with exit status 127: the image has no git"
    other = RunResult(None, "prepare", failed_step="pre-script x", failed_step_code=1, log_tail=tail)
    assert judge(other).reason == "pre-script x failed with exit status 1"


@given(st.lists(st.sampled_from(["--- clone", "fatal: x", SSH[0], END[0], "", "y"]), max_size=12))
def test_any_lines(lines: list[str]) -> None:
    """The cause is one of the lines of the step, in one line."""
    assert clone_cause(lines) in {"", "x", "y", SSH[0].removeprefix("fatal: "), "fatal: x", "--- clone"}
