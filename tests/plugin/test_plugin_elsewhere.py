"""Sessions that start outside of the MAD repository: everything is as inside (faults 1.3 and 2.15)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

#: A sink beside the models, and a way for a worker to die.
CONFTEST = """

def pytest_mad_result(config, record):
    with open({place!r}, "a") as stream:
        stream.write(record.item_id + "\\n")


def pytest_mad_plan(config, plan):
    import os
    if "crash" in plan.container_name:
        os._exit(1)
"""


@pytest.fixture
def elsewhere(repo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with an ini file of its own beside the repository; the session starts there."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    conftest = repo.path / "conftest.py"
    conftest.write_text(conftest.read_text() + CONFTEST.format(place=str(tmp_path / "seen")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(repo: Any, elsewhere: Path, *args: str) -> pytest.RunResult:
    fixed = (f"--mad-root={repo.path}", f"--mad-output={elsewhere}/perf.csv")
    result: pytest.RunResult = repo.run(
        *fixed, f"--mad-results-dir={repo.path}/mad-results", "--mad-tags=demo", *args, subprocess=True
    )
    return result


def statuses(repo: Any, elsewhere: Path) -> dict[str, str]:
    rows = repo.rows(str(elsewhere / "perf.csv"))
    assert len(rows) == len(repo.records())
    return {row["model"]: row["status"] for row in rows}


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_never_ran_has_records_and_rows(repo: Any, elsewhere: Path, workers: str) -> None:
    """faults 1.3: a MAD root outside of the rootdir / ``-x`` / a record and a row of every model."""
    repo.model("bad", "exit 3")
    for name in ("m1", "m2", "m3"):
        repo.model(name, "sleep 1; echo performance: 1 x")
    result = run(repo, elsewhere, "-x", "-n", workers, "--junitxml", f"{repo.path}/j.xml")
    assert result.ret in (1, 2)
    found = statuses(repo, elsewhere)
    assert (set(found), found["bad"]) == ({"bad", "m1", "m2", "m3"}, "FAILURE")
    assert "SKIPPED" in found.values()
    cases = list(repo.junit().iter("testcase"))
    assert {case.get("classname") for case in cases} == {"models.json"}


def test_a_crashed_worker_is_a_failure_with_the_facts_of_its_model(repo: Any, elsewhere: Path) -> None:
    """faults 1.3: outside of the rootdir / a worker dies / row with the model's columns, others run;
    faults 2.15: the sink of the repository's conftest sees all of them, also under xdist."""
    repo.model("crash", tags=["demo", "special"], training_precision="fp8").model("fine")
    result = run(repo, elsewhere, "-n", "2", "--dist", "load")
    assert result.ret == 1
    assert statuses(repo, elsewhere) == {"crash": "FAILURE", "fine": "SUCCESS"}
    record = next(record for record in repo.records() if record["model"] == "crash")
    assert record["reason"].startswith("worker crashed")
    assert (record["item_id"], record["columns"]["training_precision"]) == ("crash", "fp8")
    assert sorted((elsewhere / "seen").read_text().split()) == ["crash", "fine"]


def test_groups_change_node_ids_and_nothing_else(repo: Any, elsewhere: Path) -> None:
    """faults 1.3: ``--dist loadgroup`` adds the group to the node id / -x / every model is accounted for."""
    repo.model("bad", "exit 3", tags=["demo", "xdist_group"]).model("late", tags=["demo", "xdist_group"])
    run(repo, elsewhere, "-n", "1", "--dist", "loadgroup", "-x")
    assert set(statuses(repo, elsewhere)) == {"bad", "late"}


@pytest.mark.parametrize(("workers", "given"), [("0", "{root}/models.json::no"), ("1", "models.json::no")])
def test_deselect_works(repo: Any, elsewhere: Path, workers: str, given: str) -> None:
    """faults 2.15: outside of the rootdir / --deselect by node id or by path / the model does not run."""
    repo.model("no").model("yes")
    run(repo, elsewhere, "-n", workers, "--deselect", given.format(root=repo.path))
    assert statuses(repo, elsewhere) == {"yes": "SUCCESS"}
    assert (elsewhere / "seen").read_text() == "yes\n"


def test_gpus_are_packed(repo: Any, elsewhere: Path) -> None:
    """faults 1.3: outside of the rootdir / models of one GPU each, one GPU / the scheduler sees the need."""
    for name in ("a", "b"):
        repo.model(name, n_gpus="1")
    conftest = repo.path / "conftest.py"
    conftest.write_text(
        conftest.read_text()
        + """

def pytest_sessionfinish(session):
    parallel = session.config.pluginmanager.getplugin("madengine-parallel")
    if parallel is not None:
        from pytest_madengine.plugin.itemids import item_ids
        from pytest_madengine.plugin.xdist.workers import needs_of
        ids = ["models.json::a", "models.json::b", "test_x.py::a"]
        needs = needs_of(parallel.session, item_ids(session.config), ids)
        print("needs", sorted((key, need.gpus) for key, need in needs.items()))
"""
    )
    result = run(repo, elsewhere, "-n", "2", "--mad-simulate-gpus=1", "-s")
    result.stdout.fnmatch_lines(["*needs *('models.json::a', 1), ('models.json::b', 1)*"])


def test_a_conftest_that_cannot_be_imported_is_a_usage_error(repo: Any, elsewhere: Path) -> None:
    """faults 2.15: a broken conftest beside the models / -n / exit 4 naming it, nothing ran."""
    repo.model("m")
    (repo.path / "conftest.py").write_text("import no_such_module_here\n")
    result = run(repo, elsewhere, "-n", "1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*conftest.py cannot be imported: ModuleNotFoundError*no_such_module*"])
    assert not (repo.path / "mad-results").exists()
