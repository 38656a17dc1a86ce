"""The table ``gate`` of a references file, and the sentences of findings."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.gate import words
from pytest_madengine.gate.facts import Value
from pytest_madengine.gate.finding import HISTORY, REFERENCE, Finding, ordered, verdict_of
from pytest_madengine.gate.judge import Decision, decide
from pytest_madengine.gate.references import Expected
from pytest_madengine.gate.tuning import Tuning, read_tuning

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
_names = st.sampled_from(["confirm", "reruns", "tolerance", "alpha", "window", "lasting", "missing", "other"])


@given(table=st.dictionaries(_names, _json, max_size=4) | _json)
def test_any_table_is_read_or_named(table: Any) -> None:
    """Whatever JSON stands there: a setting is taken or is a problem, and the rule can work with all."""
    tuning, problems = read_tuning(table, "file")
    for name in table if isinstance(table, dict) else ():
        named = any(f'"gate.{name}"' in text or f'"{name}"' in text for text in problems)
        assert named or getattr(tuning, name) == table[name]
    decide([100.0] * 6, [80.0], 1, tuning.options(0.05))
    assert tuning.budget(100) >= 0


def test_a_table() -> None:
    """Values are taken; what is not given has its default."""
    tuning, problems = read_tuning({"confirm": 2, "tolerance": 0.03, "missing": "fail", "reruns": 0}, "f")
    assert problems == []
    assert (tuning.confirm, tuning.missing, tuning.budget(1000)) == (2, "fail", 0)
    assert tuning.options(0.05).tolerance == 0.03
    assert (Tuning().options(0.07).tolerance, Tuning().budget(10), Tuning().budget(100)) == (0.07, 3, 10)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ([1], '"gate" is not an object'),
        ({"confrm": 2}, 'has no setting "confrm" (there are: confirm, reruns,'),
        ({"confirm": -1}, '"gate.confirm" is not a whole number, 0 or more'),
        ({"confirm": True}, '"gate.confirm" is not a whole number'),
        ({"tolerance": 5}, '"gate.tolerance" is not a share between 0 and 1'),
        ({"tolerance": math.nan}, '"gate.tolerance" is not a share'),
        ({"lasting": "x"}, '"gate.lasting" is not "warn", "fail" or "off"'),
    ],
)
def test_what_is_wrong_is_named(table: Any, says: str) -> None:
    """Each mistake is a line with the file and the setting."""
    assert says in read_tuning(table, "file")[1][0]


KNOWN = Expected("m", "*", {}, "f", "issue 1", date(2026, 1, 2))


def finding(word: str, reason: str = "", **fields: Any) -> Finding:
    decision = Decision(word, reason, 88.0, 100.0, -0.12, 0.05, 0.01, n=10, runs=2)
    defaults: dict[str, Any] = {"source": HISTORY, "runs": (88.0, 87.0)}
    return Finding(Value("m", "sps", 88.0, {"gpu": "MI300X"}), decision, **{**defaults, **fields})


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (
            finding(words.REGRESSION, changed=("image a -> b",)),
            "sps 88 is 12.0 % below 100 (median of 10 runs on MI300X, band 5.0 %), confirmed by 1 re-run; "
            "changed since: image a -> b",
        ),
        (
            finding(words.REGRESSION, source=REFERENCE, runs=(88.0,), row="a"),
            "a: sps 88 is 12.0 % below 100 (the reference, limit 5.0 %)",
        ),
        (
            finding(words.INCONCLUSIVE, words.SPREAD),
            "sps 88 is 12.0 % below 100 (median of 10 runs on MI300X, band 5.0 %), inconclusive: this metric "
            "spreads that much between runs",
        ),
        (
            finding(
                words.REGRESSION,
                expected=KNOWN,
                runs=(88.0,),
            ),
            "sps 88 is 12.0 % below 100 (median of 10 runs on MI300X, band 5.0 %); expected: issue 1",
        ),
    ],
)
def test_sentences(made: Finding, sentence: str) -> None:
    """One sentence a metric."""
    assert made.sentence() == sentence


def test_sentences_without_a_baseline() -> None:
    """It is said what is missing."""
    few = finding(words.NO_BASELINE, words.TOO_FEW)
    assert few.sentence() == "sps: no baseline: 10 comparable runs, 3 are needed"
    unknown = Finding(Value("m", "", 1.0, {}), decide([1.0] * 5, [1.0], 0), HISTORY, (1.0,))
    assert unknown.sentence().startswith("value: no baseline: nothing says whether more or less is better")
    assert unknown.entry()["change"] is None


def test_the_worst_comes_first() -> None:
    """Order and verdict of an item."""
    found = [finding(words.PASS), finding(words.REGRESSION), finding(words.INCONCLUSIVE)]
    assert [one.word for one in ordered(found)] == ["regression", "inconclusive", "pass"]
    assert (verdict_of(found), verdict_of([])) == ("regression", "no-baseline")
    assert finding(words.REGRESSION).decided == 0
