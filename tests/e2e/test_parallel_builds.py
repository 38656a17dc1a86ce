"""Done when 4 of parallel runs: equal builds once, distinct builds beside runs, no GPU held meanwhile."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from parallel_support import PATIENCE, UNTIL_GO, Host, built, leased, overlap
from session_support import Repository, wait_until

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]


def made_images(repository: Repository, since: str) -> set[str]:
    """Ids of the images that got a name of this repository since then: from the events of the engine."""
    start = datetime.fromisoformat(since[:19]).replace(tzinfo=timezone.utc)
    events = repository.client.events(
        since=start,
        until=datetime.now(timezone.utc),
        decode=True,
        filters={"type": "image", "event": "tag"},
    )
    return {
        event["Actor"]["ID"] for event in events if repository.token in event["Actor"]["Attributes"]["name"]
    }


def test_models_of_one_dockerfile_share_one_build(repository: Repository) -> None:
    """Given two models with the same Dockerfile and arguments on two workers, without a build cache / then
    the engine made one image, in one build, and both records name it."""
    host = Host(repository)
    prefix = repository.dockerfile("RUN cat /proc/sys/kernel/random/uuid > /id", name="same")
    for name in ("one", "two"):
        script = "cat /id > /shared/$MAD_MODEL_NAME; echo performance: 1 x"
        repository.model(name, script, dockerfile=prefix, n_gpus="1")
    since = repository.client.info()["SystemTime"]
    session = host.run("-n2", "--mad-clean-docker-cache")
    assert session.code == 0, session.output
    one, two = (host.records()[number]["image"] for number in range(2))
    assert one["name"] != two["name"]
    assert built({"image": one}) == built({"image": two})
    assert made_images(repository, since) == {one["id"]} == {two["id"]}
    assert (host.shared / "one").read_text() == (host.shared / "two").read_text() != ""
    assert len(list(repository.out.glob("results/*/builds/*.json"))) == 1
    logs = [path.read_text() for path in repository.out.glob("results/*/*/*.build.live.log")]
    assert len(logs) == 2
    assert len(set(logs)) == 1
    assert logs[0].count("docker build ended with status 0") == 1


def test_builds_overlap_with_runs(repository: Repository) -> None:
    """Given four models with images of their own, two of them slow to build, and four workers / then a model
    runs while others build, and nobody holds a GPU while its own image builds."""
    host = Host(repository)
    for number, step in enumerate(["echo quick", "echo quicker", "sleep 12", "sleep 13"]):
        prefix = repository.dockerfile(f"RUN {step}", name=f"d{number}")
        # The first one runs until the test has seen the end of all builds.
        script = UNTIL_GO if number == 0 else "echo performance: 5 sps"
        repository.model(f"m{number}", script, dockerfile=prefix, n_gpus="1", timeout=900)
    session = host.start("-n4", "--mad-build-jobs=2", "--mad-clean-docker-cache")
    builds = repository.out / "results"
    wait_until(lambda: len(list(builds.glob("*/builds/*.json"))) == 4, "builds", PATIENCE, session)
    host.await_scripts(session, "m0")
    host.go()
    assert session.wait(PATIENCE).code == 0, session.output
    records = {record["item_id"]: record for record in host.records()}
    assert sorted(records) == ["m0", "m1", "m2", "m3"]
    assert len({record["image"]["id"] for record in records.values()}) == 4
    run = leased(records["m0"])
    assert [name for name, record in records.items() if overlap(run, built(record))]
    for record in records.values():
        assert built(record)[1] <= leased(record)[0]
