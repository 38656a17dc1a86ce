"""Done when 2 of parallel runs: forty containers of two sessions on eight GPUs."""

from __future__ import annotations

from collections import Counter

import pytest
from parallel_support import GPUS, PATIENCE, Host, assert_never_twice, leased, locks_of, overlap
from session_support import Repository

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

SESSIONS = ("one", "two")
#: Besides the item of width 1 in which the sessions meet.
WIDTHS = [1] * 7 + [2] * 6 + [4] * 4 + [8] * 2
#: Waits until both sessions have come here, so that they surely ran at the same time.
MEET = """
: > /shared/{session}
for i in $(seq 3000); do
  [ -e /shared/one ] && [ -e /shared/two ] && break
  sleep 0.1
done
[ -e /shared/one ] && [ -e /shared/two ] && echo "performance: 1 sps"
"""


def test_no_gpu_is_held_twice(repository: Repository) -> None:
    """Given two sessions with eight workers each / when they run forty models of mixed width at once / then
    no GPU is held twice, everything has one record and one row, and no container or lock is left."""
    host = Host(repository)
    for session in SESSIONS:
        # The largest expected area starts first: what a session does later cannot keep it from the meeting.
        meet = {"n_gpus": "1", "timeout": 900, "tags": [session]}
        repository.model(f"{session}_meet", MEET.format(session=session), **meet)
        for number, width in enumerate(WIDTHS):
            script = f"sleep 0.{1 + number % 4}; echo performance: {width} sps"
            repository.model(f"{session}_{number}_{width}", script, n_gpus=str(width), tags=[session])
    started = [host.start("-n8", tags=session) for session in SESSIONS]
    for session in started:
        assert session.wait(PATIENCE).code == 0, session.output
        assert "8 workers [20 items]" in session.output

    records = host.records()
    names = [entry["name"] for entry in repository.entries]
    assert len(names) == 40
    assert Counter(record["item_id"] for record in records) == Counter(names)
    assert {record["outcome"] for record in records} == {"SUCCESS"}
    assert Counter(row["model"] for row in repository.rows()) == Counter(names)
    assert len(repository.run_ids()) == 2
    for record in records:
        width = record["item_id"].rpartition("_")[2]
        assert len(record["lease"]["gpus"]) == (1 if width == "meet" else int(width))
        assert record["lease"]["simulated"] is True
    assert_never_twice(records)
    one, two = (leased(record) for record in records if record["item_id"].endswith("_meet"))
    assert overlap(one, two)
    left = [str(p) for p in repository.out.glob("results/*/.workspaces/**/*")]
    assert left == [], [(session.output[-2000:]) for session in started]
    repository.assert_nothing_left()
    assert len(locks_of(host.locks)) == GPUS
    assert host.held() == []
