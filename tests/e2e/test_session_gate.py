"""The performance gate with real containers: verdicts, re-runs, the baseline of a changed model."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from datetime import datetime, timedelta, timezone

import pytest
from pytest_madengine.history.store import HistoryStore
from pytest_madengine.results.record import RunRecord
from session_support import MODEL_LABEL, RUN_LABEL, Repository

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

#: Values of the next runs of each model, and its number of earlier sessions.
MODELS = {"steady": ("100", 10), "slow": ("87 88", 10), "lucky": ("88 100", 10), "young": ("88", 3)}
#: What a run prints: the first value that is left.
SCRIPT = """read -r first rest < /values/{name}
[ -n "$rest" ] && echo "$rest" > /values/{name}
echo "performance: $first samples_per_second"
"""


def starts(repository: Repository, run_id: str, model: str, since: float) -> int:
    """Containers of a model that a session started, as the engine counts them."""
    labels = [f"{RUN_LABEL}={run_id}", f"{MODEL_LABEL}={model}"]
    filters = {"type": "container", "event": "start", "label": labels}
    events = repository.client.api.events(since=since, until=time.time(), filters=filters, decode=True)
    return len(list(events))


def test_verdicts_of_a_session(repository: Repository) -> None:
    """Given sessions at 100, and a Dockerfile and scripts that were edited since, when four models run, then
    87 and 88 are a failed test, 88 and 100 are green after two containers, 100 after one, and 88 after three
    sessions is inconclusive; all of them are SUCCESS."""
    values = repository.directory / "values"
    values.mkdir()
    for name in MODELS:
        (values / name).write_text("100\n")
        options = f"-v {values}:/values"
        repository.model(name, SCRIPT.format(name=name), additional_docker_run_options=options)
    assert repository.run("--mad-gate=off").code == 0
    start = datetime.now(timezone.utc) - timedelta(days=11)
    with HistoryStore(f"sqlite:///{repository.out}/history.db") as store:
        for number in range(10):
            at = (start + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
            value = str(100 + number % 3 - 1)
            change = {"run_id": f"r{number}", "finished": at}
            store.add(
                RunRecord.from_dict({**one, **change, "metrics": [{**one["metrics"][0], "value": value}]})
                for name, one in repository.records().items()
                if number < MODELS[name][1]
            )
    repository.dockerfile("ENV EDITED=1")
    for number, (name, (text, _)) in enumerate(MODELS.items()):
        (values / name).write_text(f"{text}\n")
        script = repository.root / f"scripts/m{number}/run.sh"
        script.write_text(script.read_text() + "# edited\n")

    since = time.time() - 1
    junit = repository.out / "junit.xml"
    database = f"--mad-db=sqlite:///{repository.out}/history.db"
    session = repository.run("--mad-gate=fail", database, f"--junitxml={junit}")

    assert session.code == 1, session.output
    repository.assert_nothing_left()
    run_id = repository.run_ids()[-1]
    count = {name: starts(repository, run_id, name, since) for name in MODELS}
    assert count == {"steady": 1, "slow": 2, "lucky": 2, "young": 1}
    records = repository.records()
    assert {record["outcome"] for record in records.values()} == {"SUCCESS"}
    assert {name: record["gate"]["verdict"] for name, record in records.items()} == {
        "steady": "pass",
        "slow": "regression",
        "lucky": "pass",
        "young": "inconclusive",
    }
    assert records["young"]["gate"]["reason"] == "history"
    assert records["slow"]["gate"]["metrics"][0]["n"] == 10
    (failure,) = ElementTree.parse(junit).getroot().iter("failure")
    sentence = str(failure.get("message"))
    assert sentence.startswith(
        "samples_per_second 88 is 12.0 % below 100 (median of 10 runs, band 5.0 %), confirmed by 1 re-run"
    )
    assert "image digest" in sentence
    changes = {row["model"]: row["relative_change"] for row in repository.rows()[-len(MODELS) :]}
    assert changes == {"steady": "100", "slow": "88", "lucky": "100", "young": "88"}
