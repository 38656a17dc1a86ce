"""References, accepted changes, pins and expected failures."""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.errors import ConfigError
from pytest_madengine.gate.bookfile import read_book, read_entry, too_long
from pytest_madengine.gate.key import changed, gate_key, image_family, key_facts
from pytest_madengine.gate.references import Book, Reference, judge_reference, reference_bounds

INF = math.inf
FACTS = {"gpu": "MI300X", "gpu_product": "AMD Instinct MI300X", "n_gpus": "8", "training_precision": "fp8"}


@pytest.mark.parametrize(
    ("value", "lower", "upper", "bounds"),
    [
        (100, -0.01, 0.02, (99, 102)),
        (100, -0.01, None, (99, INF)),
        (100, None, 0.02, (-INF, 102)),
        (100, None, None, (-INF, INF)),
        (-100, -0.01, 0.02, (-101, -98)),
        (-100, None, 0.02, (-INF, -98)),
        (-100, -0.01, None, (-101, INF)),
        (0, -0.5, 0.25, (-0.5, 0.25)),
        (0, None, 3, (-INF, 3)),
    ],
)
def test_bounds_are_those_of_reframe(
    value: float, lower: float | None, upper: float | None, bounds: tuple[float, float]
) -> None:
    assert reference_bounds(value, lower, upper) == pytest.approx(bounds)


@pytest.mark.parametrize(
    ("value", "lower", "upper"),
    [(100, 0.1, 0), (100, -1.5, 0), (100, 0, -0.1), (-100, 0, 1.5), (100, math.nan, 0), (-100, 0.1, 0)],
)
def test_fractions_out_of_range(value: float, lower: float, upper: float) -> None:
    with pytest.raises(ValueError, match="must be between"):
        reference_bounds(value, lower, upper)


@given(st.floats(-1e9, 1e9), st.floats(-1, 0), st.floats(0, 1))
def test_the_value_lies_within_its_bounds(value: float, lower: float, upper: float) -> None:
    low, high = reference_bounds(value, lower, upper)
    assert low <= value <= high


def book(**lists: list[dict[str, Any]]) -> Book:
    found, problems = read_book(lists, "r.json")
    assert problems == []
    return found


def reference(given: object, metric: str = "tokens_per_second") -> Reference:
    found = book(references=[{"model": "m", "metrics": {metric: given}}])
    return found.references[0]


@pytest.mark.parametrize(
    ("given", "runs", "direction", "word"),
    [
        ([4120, -0.05, 0.10, "tokens/s"], [4000], 1, "pass"),
        ([4120, -0.05, 0.10, "tokens/s"], [3900], 1, "rerun"),
        ([4120, -0.05, 0.10, "tokens/s"], [3900, 3890], 1, "regression"),
        ([4120, -0.05, 0.10, "tokens/s"], [3900, 4100], 1, "pass"),
        ([4120, -0.05, 0.10, "tokens/s"], [4600], 1, "improved"),
        ({"value": 4120, "strict": True, "upper": 0.1}, [4600], 1, "regression"),
        ({"value": 180, "direction": "lower", "tolerance": 0.08}, [190], 1, "pass"),
        ({"value": 180, "direction": "lower", "tolerance": 0.08}, [196, 196], 1, "regression"),
        ({"value": 180, "direction": "lower"}, [1], 1, "pass"),
        ({"value": 180}, [171.1], 1, "pass"),
        ({"value": 180}, [170, 170], 1, "regression"),
        ({"value": 180}, [1800], 1, "pass"),
        ([100, -0.1, 0.1], [80, 80], 0, "regression"),
        ([100, -0.1, 0.1], [120, 120], 0, "regression"),
        ([100, None, None], [1, 1], 1, "pass"),
    ],
)
def test_verdicts_by_a_reference(given: object, runs: list[float], direction: int, word: str) -> None:
    found = judge_reference(reference(given), runs, direction, 0.05, may_run_again=len(runs) < 2)
    assert found.word == word


def test_numbers_of_a_verdict() -> None:
    found = judge_reference(reference([100, -0.05, None]), [88, 87], 1, 0.05, may_run_again=False)
    assert (found.value, found.baseline) == (88, 100)
    assert (found.change, found.band) == (pytest.approx(-0.12), pytest.approx(0.05))


def test_the_most_specific_reference_counts() -> None:
    entries = [
        {"model": "m", "metrics": {"x": [1, None, None]}},
        {"model": "m", "when": {"gpu_product": "*MI300*"}, "metrics": {"x": [2, None, None]}},
        {"model": "m", "when": {"gpu_product": "*", "n_gpus": 8}, "metrics": {"x": [3, None, None]}},
        {"model": "m", "when": {"gpu_product": "H100"}, "metrics": {"x": [4, None, None]}},
        {"model": "other", "metrics": {"x": [5, None, None]}},
    ]
    found = book(references=entries)
    assert [found.reference("m", "x", facts).value for facts in (FACTS, {}, {"gpu_product": "MI300A"})] == [
        3,
        1,
        2,
    ]
    assert found.reference("m", "y", FACTS) is None


def test_two_equally_specific_references_are_an_error_with_both_places() -> None:
    entry = {"model": "m", "when": {"n_gpus": 8}, "metrics": {"x": [1, None, None]}}
    with pytest.raises(ConfigError, match=r"references\[0\].metrics.x and r.json: references\[1\].metrics.x"):
        book(references=[entry, entry]).reference("m", "x", FACTS)


def test_marks_and_expectations() -> None:
    mark = {"model": "m", "metric": "x", "value": 90, "reason": "new kernel"}
    found = book(
        accepted=[{**mark, "at": "2026-11-01", "from": "one"}, {**mark, "at": "2026-12-01", "from": "two"}],
        pinned=[{"model": "m", "metric": "x", "value": 100}],
        xfail=[{"model": "m", "metric": "*", "reason": "issue 123", "until": "2027-01-31"}],
    )
    last = found.accepted_last("m", "x", {})
    assert last is not None
    assert (last.run, last.value, last.reason) == ("two", 90, "new kernel")
    pin, expected = found.pin("m", "x", {}), found.expected("m", "anything", {})
    assert pin is not None
    assert pin.value == 100
    assert expected is not None
    assert expected.until == date(2027, 1, 31)
    assert too_long(expected, date(2026, 1, 1))
    assert not too_long(expected, date(2026, 12, 1))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ([], "r.json: is not an object"),
        ({"reference": []}, 'r.json: the file: unknown key "reference"'),
        ({"references": {}}, "r.json: references: is not a list"),
        ({"references": [1]}, "r.json: references[0]: is not an object"),
        ({"references": [{"metrics": {}}]}, 'r.json: references[0]: needs "model", a text'),
        ({"references": [{"model": "m"}]}, 'r.json: references[0]: needs "metrics"'),
        ({"references": [{"model": "m", "metrics": {"x": 1}}]}, "metrics.x: is neither [value, lower"),
        ({"references": [{"model": "m", "metrics": {"x": [1, 0.5, 0]}}]}, "lower is 0.5, but must be"),
        ({"references": [{"model": "m", "metrics": {"x": ["1", 0, 0]}}]}, '"value" is not a number'),
        ({"references": [{"model": "m", "metrics": {"x": {}}}]}, 'needs "value", a number'),
        ({"references": [{"model": "m", "metrics": {"x": {"value": 1, "lowr": 0}}}]}, 'unknown key "lowr"'),
        ({"references": [{"model": "m", "metrics": {"x": {"value": True}}}]}, '"value" is not a number'),
        (
            {"references": [{"model": "m", "metrics": {"x": {"value": 1, "direction": "up"}}}]},
            '"direction" is "higher" or "lower"',
        ),
        ({"references": [{"model": "m", "when": {"gpus": 8}, "metrics": {}}]}, 'unknown fact "gpus"'),
        ({"accepted": [{"model": "m", "metric": "x", "reason": "r"}]}, 'accepted[0]: needs "value"'),
        ({"xfail": [{"model": "m", "reason": "r"}]}, 'xfail[0]: needs "until", a date'),
        ({"xfail": [{"model": "m", "reason": "r", "until": "soon"}]}, 'xfail[0]: needs "until", a date'),
    ],
)
def test_problems_name_their_place(data: object, problem: str) -> None:
    _, problems = read_book(data, "r.json")
    assert any(problem in str(one) for one in problems), list(map(str, problems))


def test_references_in_the_entry_of_a_model() -> None:
    given = {"metrics": {"x": [1, -0.1, 0.1]}}
    one, problems = read_entry({"reference": given}, "m", "models.json")
    many, _ = read_entry({"references": [given, {"when": {"n_gpus": "8"}, **given}]}, "m", "models.json")
    assert problems == []
    assert [found.model for found in (*one, *many)] == ["m"] * 3
    assert one[0].place == "models.json: m.reference[0].metrics.x"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["references", "model", "metrics", "when", "value", "until", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["references", "accepted", "pinned", "xfail", "q"]), json_values))
def test_any_json_is_read(data: dict[str, Any]) -> None:
    found, problems = read_book(data, "r.json")
    assert isinstance(found, Book)
    assert all("\n" not in str(one).replace("\n", "") for one in problems)
    json.dumps(list(map(str, problems)))


def test_key_of_a_value() -> None:
    facts = {"model": "m", "metric": "x", "gpu": "MI300X", "hostname": "n7", "image": "a:1"}
    other = {**facts, "hostname": "n8", "image": "a:2"}
    assert gate_key(facts) == gate_key(other)
    assert gate_key(facts, key_facts("+hostname")) != gate_key(other, key_facts("+hostname"))
    assert gate_key(facts, key_facts("-gpu")) == gate_key({**facts, "gpu": "H100"}, key_facts("-gpu"))
    assert changed(facts, other) == ("hostname n7 -> n8", "image a:1 -> a:2")


@pytest.mark.parametrize("choice", ["hostname", "+colour", "-model", "+"])
def test_a_key_that_cannot_be(choice: str) -> None:
    with pytest.raises(ConfigError, match="is not \\+FACT or -FACT"):
        key_facts(choice)


@pytest.mark.parametrize(
    ("reference", "family"),
    [
        ("rocm/vllm:6.4", "rocm/vllm"),
        ("localhost:5000/rocm/vllm:6.4@sha256:ab", "rocm/vllm"),
        ("registry.example.com/a/b", "a/b"),
        ("ubuntu", "ubuntu"),
        ("localhost/x:1", "x"),
    ],
)
def test_family_of_an_image(reference: str, family: str) -> None:
    assert image_family(reference) == family
    assert image_family(reference, "docker/x.Dockerfile") == "docker/x.Dockerfile"
