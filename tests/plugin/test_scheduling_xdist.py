"""Models under xdist: the scheduler, ``-n auto``, crashes, stops, ordinary tests beside models."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

#: Writes when it ran and on what, with sub-second times.
TRACE = """
start=$(date +%s.%N)
{body}
echo "$MAD_MODEL_NAME $start $(date +%s.%N)" >> {path}/trace
echo performance: 1 sps
"""


def traced(repo: Any, name: str, gpus: int = 1, body: str = "sleep 0.2", **fields: Any) -> None:
    repo.model(name, TRACE.format(path=repo.path, body=body), n_gpus=str(gpus), **fields)


def trace(repo: Any) -> dict[str, tuple[float, float]]:
    """model -> (start, end)."""
    lines = (repo.path / "trace").read_text().splitlines()
    return {name: (float(start), float(end)) for name, start, end in map(str.split, lines)}


def run(repo: Any, *args: str) -> pytest.RunResult:
    result: pytest.RunResult = repo.run(*args, subprocess=True)
    return result


def test_no_gpu_is_held_twice_and_reports_are_as_without_xdist(repo: Any) -> None:
    for index, gpus in enumerate([1, 2, 4, 8, 1, 2]):
        traced(repo, f"m{index}", gpus)
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=8", "-n", "3", "-v", "--junitxml=j.xml")
    result.assert_outcomes(passed=6)
    text = result.stdout.str()
    assert "3 workers [6 items]" in text
    assert "scheduling tests via PackedScheduling" in text
    assert "idle" not in text
    assert len(list(repo.junit().iter("testcase"))) == 6
    assert repo.statuses() == dict.fromkeys((f"m{index}" for index in range(6)), "SUCCESS")
    spans, held = trace(repo), {record["model"]: record["lease"]["gpus"] for record in repo.records()}
    assert sorted(map(len, held.values())) == [1, 1, 2, 2, 4, 8]
    for one in spans:
        for other in spans:
            if one < other and set(held[one]) & set(held[other]):
                assert spans[one][1] <= spans[other][0] or spans[other][1] <= spans[one][0]
    for record in repo.records():
        start, end = (datetime.fromisoformat(record["lease"][key][:-1]) for key in ("from", "to"))
        assert start <= end


def test_a_long_model_holds_nothing_back(repo: Any) -> None:
    """Stock xdist keeps the next item in hand of a busy worker; here the other worker takes them all."""
    traced(repo, "long", 1, f"until [ $(wc -l < {repo.path}/trace) -ge 4 ]; do sleep 0.05; done", timeout=60)
    (repo.path / "trace").write_text("")
    for index in range(4):
        traced(repo, f"short{index}", body="true", timeout=1)
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "2")
    result.assert_outcomes(passed=5)


def test_two_sessions_share_the_gpus_of_a_host(repo: Any) -> None:
    for index, gpus in enumerate([1, 2, 1, 2]):
        traced(repo, f"m{index}", gpus)
    args = ("--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "2", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *args, "--mad-output=one.csv"]
    with subprocess.Popen(command, cwd=repo.path, stdout=subprocess.DEVNULL) as first:
        second = run(repo, *args, "--mad-output=two.csv")
    assert first.returncode == 0
    second.assert_outcomes(passed=4)
    spans = [line.split() for line in (repo.path / "trace").read_text().splitlines()]
    assert len(spans) == 8
    events = [(float(start), repo_gpus(name)) for name, start, _ in spans]
    events += [(float(end), -repo_gpus(name)) for name, _, end in spans]
    level = 0
    for _, change in sorted(events, key=lambda event: (event[0], event[1])):
        level += change
        assert level <= 2
    assert not list((repo.path / "gpu-locks").glob("ticket-*"))


def repo_gpus(name: str) -> int:
    return {"m0": 1, "m1": 2, "m2": 1, "m3": 2}[name]


def test_exitfirst_stops_and_accounts_for_every_model(repo: Any) -> None:
    traced(repo, "bad", 2, "exit 3", timeout=1000)
    for index in range(4):
        traced(repo, f"m{index}", 2, timeout=10)
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "2", "-x")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert result.parseoutcomes()["failed"] == 1
    assert repo.statuses()["bad"] == "FAILURE"
    assert len(repo.statuses()) == 5
    assert list(repo.statuses().values()).count("SKIPPED") >= 3


def test_maxfail_counts_failures_of_all_workers(repo: Any) -> None:
    for index in range(6):
        traced(repo, f"m{index}", 1, "exit 3")
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=1", "-n", "2", "--maxfail=2")
    assert result.parseoutcomes()["failed"] == 2
    assert sorted(repo.statuses().values()) == ["FAILURE"] * 2 + ["SKIPPED"] * 4


def test_a_crashed_worker_costs_one_model(repo: Any) -> None:
    """The worker dies while it runs a wide model: its GPUs are free at once, the others are run."""
    traced(repo, "killer", 2, "kill -9 $PPID", timeout=1000)
    for index in range(3):
        traced(repo, f"m{index}", 1, timeout=10)
    (repo.path / "test_plain.py").write_text("def test_plain(): pass\n")
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "2", ".")
    outcomes = result.parseoutcomes()
    assert (outcomes["failed"], outcomes["passed"]) == (1, 4)
    statuses = repo.statuses()
    assert statuses.pop("killer") == "FAILURE"
    assert statuses == dict.fromkeys(("m0", "m1", "m2"), "SUCCESS")


def test_the_last_worker_crashes_on_the_last_model(repo: Any) -> None:
    traced(repo, "killer", 1, "kill -9 $PPID")
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=1", "-n", "1")
    assert result.parseoutcomes()["failed"] == 1
    assert repo.statuses() == {"killer": "FAILURE"}


def test_ordinary_tests_beside_models(repo: Any) -> None:
    """Every fixture of a session or module that began on a worker ends there, once."""
    for index in range(2):
        traced(repo, f"m{index}", 1)
    with (repo.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\n\ndef note(text):\n"
            f"    with open({str(repo.path / 'notes')!r}, 'a') as notes:\n"
            "        notes.write(f'{text} {os.getpid()}\\n')\n\n\n"
            "@pytest.fixture(scope='session', autouse=True)\n"
            "def session():\n    note('session begins')\n    yield\n    note('session ends')\n\n\n"
            "@pytest.fixture(scope='module', autouse=True)\n"
            "def module():\n    note('module begins')\n    yield\n    note('module ends')\n"
        )
    (repo.path / "test_plain.py").write_text(
        "import pytest\n@pytest.mark.parametrize('n', range(40))\ndef test_plain(n): pass\n"
    )
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "2", ".")
    result.assert_outcomes(passed=42)
    notes = (repo.path / "notes").read_text().splitlines()
    begun = sorted(note for note in notes if "begins" in note)
    assert begun == sorted(note.replace("ends", "begins") for note in notes if "ends" in note)
    assert sum(note.startswith("session begins") for note in notes) == 2


def test_a_failing_end_of_a_session_fixture_is_reported(repo: Any) -> None:
    traced(repo, "m0", 1)
    with (repo.path / "conftest.py").open("a") as conftest:
        conftest.write(
            "\n@pytest.fixture(scope='session', autouse=True)\n"
            "def session():\n    yield\n    raise ValueError('late trouble')\n"
        )
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "1")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*late trouble*"])
    assert repo.statuses() == {"m0": "SUCCESS"}


def test_last_failed(repo: Any) -> None:
    traced(repo, "bad", 1, "exit 3")
    traced(repo, "good", 1)
    args = ("--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "2")
    run(repo, *args, "--cached").assert_outcomes(passed=1, failed=1)
    run(repo, *args, "--lf").assert_outcomes(failed=1)


def test_nothing_selected(repo: Any) -> None:
    traced(repo, "m0")
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "2", "-k", "nothing")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.parametrize(
    ("gpus", "host", "expected"),
    [([1] * 5, 3, 3), ([2] * 4, 4, 2), ([1], 8, 1), ([2, 2, 1], 2, 1), ([4, 1, 1], 4, 2)],
)
def test_auto_is_the_number_of_slots(repo: Any, gpus: list[int], host: int, expected: int) -> None:
    for index, count in enumerate(gpus):
        traced(repo, f"m{index}", count, body="true")
    result = run(repo, "--mad-tags", "demo", f"--mad-simulate-gpus={host}", "-n", "auto")
    result.assert_outcomes(passed=len(gpus))
    noun = "worker" if expected == 1 else "workers"
    assert re.search(rf"^{expected} {noun} \[{len(gpus)} items?\]", result.stdout.str(), re.MULTILINE)


def test_auto_with_a_wrong_option_is_a_usage_error(repo: Any) -> None:
    traced(repo, "m0")
    result = run(repo, "--mad-tags", "nosuch", "-n", "auto")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*nosuch*"])


def test_other_modes_fall_back_with_a_warning(repo: Any) -> None:
    traced(repo, "m0")
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "1", "--dist", "worksteal")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*scheduled by xdist*--dist worksteal*"])


def test_an_unknown_xdist_falls_back_with_a_warning(repo: Any) -> None:
    traced(repo, "m0")
    with (repo.path / "conftest.py").open("a") as conftest:
        conftest.write("\nimport xdist\nxdist.__version__ = '9.1'\n")
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "1")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*pytest-xdist 9.1 is not a version known to work*"])


def test_other_peoples_sessions_are_left_alone(repo: Any) -> None:
    (repo.path / "conftest.py").write_text("")
    (repo.path / "test_plain.py").write_text("def test_a(): pass\n")
    result = run(repo, "-n", "1", "-v", "test_plain.py")
    result.assert_outcomes(passed=1)
    assert "via LoadScheduling" in result.stdout.str()


def test_collect_only_shows_no_idle_item(repo: Any) -> None:
    traced(repo, "m0")
    result = run(repo, "--mad-tags", "demo", "--mad-simulate-gpus=2", "-n", "2", "--collect-only", "-q")
    assert "idle" not in result.stdout.str()


def test_cpu_sets_are_shared_out(repo: Any) -> None:
    traced(repo, "m0", 0)
    result = run(repo, "--mad-tags", "demo", "--mad-cpus-per-model=1", "--mad-plan")
    assert result.ret == 0
    result = run(repo, "--mad-tags", "demo", "--mad-cpus-per-model=0x1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--mad-cpus-per-model*whole number*"])
