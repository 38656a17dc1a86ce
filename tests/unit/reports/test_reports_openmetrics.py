"""OpenMetrics text, read by the parser of the Prometheus client."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from pytest_madengine.reports.ci.openmetrics import openmetrics
from pytest_madengine.results.record import Metric, Outcome, RunRecord

COLUMNS = {"gpu_architecture": "gfx942", "n_gpus": "8"}


def record(item: str, *metrics: Metric, outcome: Outcome = Outcome.SUCCESS, **fields: Any) -> RunRecord:
    return RunRecord(
        "r", item, fields.pop("model", item), outcome, metrics=metrics, columns=COLUMNS, **fields
    )


def samples(text: str, name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Value by labels of a family."""
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {tuple(sorted(sample.labels.items())): sample.value for sample in families[name].samples}


def test_the_whole_text() -> None:
    text = openmetrics(
        [
            record("m", Metric("21750", "tok/s"), durations={"run": 12.3456, "build": 3.0}),
            record("m[bs=8]", model="m", outcome=Outcome.FAILURE),
            record("s", outcome=Outcome.SKIPPED),
        ]
    )
    assert text == (
        "# TYPE mad_performance gauge\n"
        "# HELP mad_performance Value of a metric, as the model printed it.\n"
        'mad_performance{model="m",gpu_architecture="gfx942",n_gpus="8",metric="tok/s"} 21750\n'
        "# TYPE mad_status gauge\n"
        "# HELP mad_status Outcome of a model: 1 SUCCESS, 0 FAILURE, -1 SKIPPED.\n"
        'mad_status{model="m",gpu_architecture="gfx942",n_gpus="8"} 1\n'
        'mad_status{model="m",item="m[bs=8]",gpu_architecture="gfx942",n_gpus="8"} 0\n'
        'mad_status{model="s",gpu_architecture="gfx942",n_gpus="8"} -1\n'
        "# TYPE mad_test_duration_seconds gauge\n"
        "# UNIT mad_test_duration_seconds seconds\n"
        "# HELP mad_test_duration_seconds Time of the run.\n"
        'mad_test_duration_seconds{model="m",gpu_architecture="gfx942",n_gpus="8"} 12.346\n'
        "# TYPE mad_build_duration_seconds gauge\n"
        "# UNIT mad_build_duration_seconds seconds\n"
        "# HELP mad_build_duration_seconds Time of the image build.\n"
        'mad_build_duration_seconds{model="m",gpu_architecture="gfx942",n_gpus="8"} 3.000\n'
        "# TYPE mad_models gauge\n"
        "# HELP mad_models Number of models with this outcome.\n"
        'mad_models{status="SUCCESS"} 1\n'
        'mad_models{status="FAILURE"} 1\n'
        'mad_models{status="SKIPPED"} 1\n'
        "# EOF\n"
    )
    assert len(list(text_string_to_metric_families(text))) == 5


@pytest.mark.parametrize("value", ["21750", "1.5e3", "1E5", "-3.2", "+3", ".5", "5.", "0", "1e-9"])
def test_numbers_stand_as_printed(value: str) -> None:
    text = openmetrics([record("m", Metric(value, "x"))])
    assert f"}} {value}\n" in text
    assert list(samples(text, "mad_performance").values()) == [float(value)]


@pytest.mark.parametrize("value", ["14-18|32", "", "nan", "inf", "1_000", "0x10", "1 2", "1\n2"])
def test_other_texts_are_no_samples(value: str) -> None:
    text = openmetrics([record("m", Metric(value, "x"))])
    assert "mad_performance" not in text
    assert list(text_string_to_metric_families(text))


def test_what_a_failed_run_printed_is_no_result() -> None:
    good, bad = Metric("1", "x", row="a"), Metric("", "x", row="b", outcome=Outcome.FAILURE)
    text = openmetrics(
        [
            record("f", Metric("5", "x"), outcome=Outcome.FAILURE),
            record("r", good, bad, outcome=Outcome.FAILURE),
        ]
    )
    ((labels, value),) = samples(text, "mad_performance").items()
    assert (dict(labels)["model"], dict(labels)["row"], value) == ("r", "a", 1.0)


def test_no_two_samples_are_equal() -> None:
    """Of rows with the same name the last counts."""
    text = openmetrics([record("m", Metric("1", "x", row="a"), Metric("2", "x", row="a")), record("m")])
    assert list(samples(text, "mad_performance").values()) == [2.0]
    assert len(samples(text, "mad_status")) == 1


def test_no_records() -> None:
    assert samples(openmetrics([]), "mad_models") == {
        (("status", outcome.value),): 0.0 for outcome in Outcome
    }


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=30), st.text(max_size=30))
def test_any_text_is_a_label(item: str, metric: str) -> None:
    """One sample with one line, and what can be printed comes back."""
    text = openmetrics([record(item, Metric("1", metric))])
    assert len([line for line in text.splitlines() if line.startswith("mad_performance")]) == 1
    ((labels, _),) = samples(text, "mad_performance").items()
    if item.isprintable():
        assert dict(labels).get("model", "") == item
