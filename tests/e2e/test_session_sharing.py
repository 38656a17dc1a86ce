"""Sessions and models side by side: nobody gets in anybody's way, equal builds happen once."""

from __future__ import annotations

import json

import pytest
from session_support import LIMIT, Repository

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

#: Waits, at most a minute, until two runs have arrived at the shared directory.
MEET = """
: > "/shared/$(cat /proc/sys/kernel/random/uuid)"
for i in $(seq 600); do
  set -- /shared/*
  [ $# -ge 2 ] && break
  sleep 0.1
done
echo "performance: $# runs"
"""


def test_two_sessions_at_once(repository: Repository) -> None:
    """Defect 11: given two runs of one model on a host at once / then both finish, names differ."""
    shared = repository.directory / "shared"
    shared.mkdir()
    repository.model("m", MEET)
    context = ("--mad-context", f"{{'docker_mounts': {{'/shared': {str(shared)!r}}}}}")
    sessions = [repository.start(*context) for _ in range(2)]
    for session in sessions:
        assert session.wait(LIMIT).code == 0, session.output
    assert [(row["model"], row["performance"]) for row in repository.rows()] == [("m", "2")] * 2
    names = containers(repository)
    assert len(names) == len(set(names)) == 2
    assert all(name.startswith(f"container_ci-m_{repository.base}_") for name in names)
    assert len(repository.run_ids()) == 2
    repository.assert_nothing_left()


def containers(repository: Repository) -> list[str]:
    """Names of the containers of all sessions, from their records."""
    paths = repository.out.glob("results/*/records.jsonl")
    lines = [line for path in paths for line in path.read_text().splitlines()]
    return [str(json.loads(line)["image"]["container"]) for line in lines]


@pytest.mark.parametrize("workers", ["", "-n2"], ids=["alone", "workers"])
def test_equal_builds_happen_once(repository: Repository, workers: str) -> None:
    """Section 8.3: models with the same Dockerfile share one build; the image has the name of each; another
    argument is another build.  Without the cache a second build would give another text."""
    prefix = repository.dockerfile(
        "ARG A=0", "RUN echo $A; cat /proc/sys/kernel/random/uuid > /id", name="id"
    )
    script = "cp /id results_id; echo performance: 1 x"
    for name in ("one", "two", "three"):
        repository.model(name, script, dockerfile=prefix)
    repository.model("swept", script, dockerfile=prefix, tags=["swept"])
    args = ["--mad-clean-docker-cache", *filter(None, [workers])]
    session = repository.run(*args, tags="all_of_it,swept:A=7")
    assert session.code == 0, session.output
    items = ("one", "two", "three", "swept_A_7_")
    ids = [(repository.artifacts(item) / "results_id").read_text() for item in items]
    assert ids[0] == ids[1] == ids[2] != ids[3]
    rows = repository.rows()
    assert len({row["docker_image"] for row in rows}) == 4
    shared = [row["build_duration"] for row in rows if row["model"] != "swept"]
    assert len(set(shared)) == 1
    images = {repository.client.images.get(row["docker_image"]).id for row in rows if row["model"] != "swept"}
    assert len(images) == 1
    logs = list(repository.out.glob("results/*/*/*.build.live.log"))
    assert len(logs) == 4
    assert all("docker build ended with status 0" in log.read_text() for log in logs)


def test_results_of_the_same_name_do_not_mix(repository: Repository) -> None:
    """Defects 1 and 2: given two models with one results file name and a file of an earlier day in the root /
    when only one writes / then the other is FAILURE."""
    (repository.root / "perf_x.csv").write_text("model,performance,metric\n1,999,sps\n")
    write = "printf 'model,performance,metric\\n1,111,sps\\n' > perf_x.csv"
    repository.model("writes", write, multiple_results="perf_x.csv")
    repository.model("forgets", "echo nothing", multiple_results="perf_x.csv")
    session = repository.run("-n2")
    assert session.code == 1
    found = {(row["model"], row["performance"], row["status"]) for row in repository.rows()}
    assert found == {("writes_1", "111", "SUCCESS"), ("forgets", "", "FAILURE")}
    assert repository.reason("forgets") == "multiple_results file perf_x.csv was not produced by this run"


def test_workers_know_the_rootdir(repository: Repository) -> None:
    """Given path options as separate words, whose targets exist when the workers start / then node ids and
    ini file are those of the controlling process."""
    repository.model("m").model("n")
    (repository.root / "pytest.ini").write_text("[pytest]\nmad_perf_csv_schema = v1\n")
    session = repository.run("-n2", "-v", "--mad-output", "perf.csv", "--mad-results-dir", "new/results")
    assert session.code == 0, session.output
    assert session.output.count(" models.json::m") == 1
    assert (repository.root / "perf.csv").read_text().startswith("model,n_gpus,training_precision")


def test_outputs_in_the_repository_disturb_no_model(repository: Repository) -> None:
    """faults 1.1: given models that only print, when several run at once and the outputs are replaced in the
    MAD root after each of them / then every one succeeds, and nothing unfinished stays."""
    for number in range(12):
        repository.model(f"m{number}")
    session = repository.run("-n4", "--mad-output=perf.csv", "--mad-results-dir=mad-results")
    assert session.code == 0, session.output
    repository.out = repository.root
    assert repository.statuses() == {f"m{number}": "SUCCESS" for number in range(12)}
    assert [path.name for path in repository.root.glob(".madengine*")] == []
