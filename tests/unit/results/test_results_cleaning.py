"""What every output may have of a record."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.results.cleaning import clean_record
from pytest_madengine.results.record import Attempt, Metric, Outcome, RunRecord
from pytest_madengine.secrets import MASK, Redactor
from pytest_madengine.util import text

ANY = st.text(st.one_of(st.characters(), st.sampled_from("\x1b[]0m;\x07\u202e\udcff")), max_size=30)


def record(given_text: str) -> RunRecord:
    """A record that has a text everywhere."""
    metric = Metric(
        "5", given_text, row=given_text, overrides={given_text: given_text}, extra={given_text: given_text}
    )
    return RunRecord(
        *("r", given_text, given_text, Outcome.FAILURE, given_text),
        metrics=(metric,),
        columns={"args": given_text, "test_duration": "1.5"},
        configs={given_text: [given_text, 5, None, 0.5, True]},
        image={"name": given_text},
        host={"hostname": given_text},
        data=({"home": given_text},),
        artifacts=(given_text,),
        log_file=given_text,
        log_tail=(given_text,),
        hint=given_text,
        warnings=(given_text,),
        attempts=(Attempt(Outcome.FAILURE, given_text, "run", "", 1.0),),
        build={"docker": given_text},
    )


@given(ANY)
def test_any_text_becomes_one_that_every_output_takes(given_text: str) -> None:
    """faults 1.4, 1.14, 4.3: whatever stands in a record, its JSON is safe; twice is as once."""
    clean = clean_record(record(given_text), Redactor())
    without_build = {**clean.to_dict(), "build": {}}
    assert text.is_safe(json.dumps(without_build, ensure_ascii=False))
    json.dumps(clean.to_dict(), ensure_ascii=False).encode()
    assert clean_record(clean, Redactor()) == clean
    assert RunRecord.from_dict(json.loads(json.dumps(clean.to_dict()))) == clean


def test_secrets_are_masked_everywhere_and_measured_numbers_stay() -> None:
    """faults 4.1, 4.2: given a secret in every field / then it is nowhere; numbers stay as measured."""
    redactor = Redactor(["hunter22", "123456", "token"])
    clean = json.dumps({**clean_record(record("x hunter22 HUNTER22"), redactor).to_dict(), "build": {}})
    assert "hunter22" not in clean.lower()
    metric = Metric("123456", "tokens_per_second", row="token", extra={"token": "123456", "note": "a 123456"})
    made = clean_record(
        RunRecord(
            *("r", "token", "token", Outcome.SUCCESS),
            metrics=(metric,),
            columns={"test_duration": "123456", "args": "--pin 123456 --x token"},
            configs={"token": "token", "pin": 123456, "n": 7},
        ),
        redactor,
    )
    (kept,) = made.metrics
    assert (kept.value, kept.name, kept.row) == ("123456", "tokens_per_second", "token")
    assert kept.extra == {"token": "123456", "note": f"a {MASK}"}
    assert made.columns == {"test_duration": "123456", "args": f"--pin {MASK} --x {MASK}"}
    assert made.configs == {"token": MASK, "pin": MASK, "n": 7}
    assert made.model == "token"


def test_a_secret_with_something_invisible_in_it_is_masked() -> None:
    """faults 4.1: given escape sequences and invisible characters between the letters / then it is masked."""
    given_text = "x hun\x1b[0mter\u200b22 y"
    made = json.dumps(clean_record(record(given_text), Redactor(["hunter22"])).to_dict()["reason"])
    assert made == json.dumps(f"x {MASK} y")


def test_lengths_are_bounded() -> None:
    made = clean_record(record("x y" * 100_000), Redactor())
    assert len(made.reason) <= text.MESSAGE_LIMIT
    assert len(made.log_tail[0]) <= text.LINE_LIMIT
    assert len(made.metrics[0].name) <= text.NAME_LIMIT
    assert len(made.columns["args"]) <= text.CELL_LIMIT


def test_paths_are_those_of_the_files() -> None:
    """faults 4.1: given secrets and words that are secrets in paths / then a secret has a mark that all file
    systems take, and a directory called like a word keeps its name: the file is there."""
    given_record = RunRecord(
        "r", "m", "m", Outcome.SUCCESS, artifacts=("token/a hunter22",), log_file="token/x"
    )
    made = clean_record(given_record, Redactor(["hunter22", "token"]))
    assert (made.artifacts, made.log_file) == (("token/a ___",), "token/x")
