"""What workers change in the reports: nothing but times."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest
from parallel_support import Host
from session_support import Repository

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

TIMES = {"build_duration", "test_duration"}
#: Properties: times, and ids of images, which have a label with the session.
VARYING = ("_duration", ".image_digest")
SESSION_ID = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]+")
ROWS = "printf 'model,performance,metric\\na,1.5,ms\\nb,2.5,ms\\n' > rows.csv"


def rows(path: Path) -> Counter[tuple[tuple[str, str], ...]]:
    """The rows of a table without order and times."""
    with path.open(newline="") as stream:
        found = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(stream)]
    return Counter(tuple(sorted(row.items())) for row in found)


def cases(path: Path) -> Counter[tuple[object, ...]]:
    """The test cases of a JUnit file without order, times and session ids."""

    def plain(text: str) -> str:
        # Lines quoted from a log have times in them, and names of containers of a build.
        return SESSION_ID.sub("ID", re.sub(r"(?m)^  \| .*$", "", text))

    found: Counter[tuple[object, ...]] = Counter()
    for case in ElementTree.parse(path).iter("testcase"):
        properties = {
            (entry.get("name"), SESSION_ID.sub("ID", entry.get("value") or ""))
            for entry in case.iter("property")
            if not str(entry.get("name")).endswith(VARYING)
        }
        outcome = tuple(
            (child.tag, plain(f"{child.get('message')} {child.text}"))
            for child in case
            if child.tag in {"failure", "error", "skipped"}
        )
        found[case.get("classname"), case.get("name"), tuple(sorted(properties)), outcome] += 1
    return found


def counts(path: Path) -> dict[str, str | None]:
    """The numbers of a JUnit suite."""
    suite = next(ElementTree.parse(path).iter("testsuite"))
    return {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}


def test_reports_are_those_without_workers(repository: Repository) -> None:
    """Given models that succeed, fail, are skipped, have several rows, and an ordinary test / then JUnit and
    perf.csv of four workers are those of none, but for order and times."""
    host = Host(repository)
    for width in (1, 2, 4, 8):
        repository.model(f"wide{width}", f"echo performance: {width} sps", n_gpus=str(width))
    repository.model("rows", ROWS, multiple_results="rows.csv", n_gpus="2")
    repository.model("fails", "echo before; exit 3", n_gpus="1")
    repository.model("silent", "echo nothing", n_gpus="1")
    repository.model("old", n_gpus="1", deprecated=True)
    repository.model("unbuilt", dockerfile=repository.dockerfile("RUN exit 4", name="bad"), n_gpus="1")
    (repository.root / "test_plain.py").write_text("def test_plain(): pass\n")
    everything = ("models.json", "test_plain.py")
    tables = {}
    for name, args in (("alone", ()), ("workers", ("-n4",))):
        table, report = (repository.out / f"{name}.{suffix}" for suffix in ("csv", "xml"))
        session = host.run(f"--mad-output={table}", f"--junitxml={report}", *args, *everything)
        assert session.code == 1, session.output
        tables[name] = rows(table), cases(report), counts(report)
    alone, workers = tables["alone"], tables["workers"]
    assert alone[0] == workers[0]
    assert alone[1] == workers[1]
    assert alone[2] == workers[2]
    assert sum(alone[0].values()) == 10
    assert sum(alone[1].values()) == 10
    repository.assert_nothing_left()
