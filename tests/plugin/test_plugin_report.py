"""``--mad-report DIR``: a results site at the end of a session."""

from __future__ import annotations

import base64
import re
import zlib
from typing import Any

import pytest


def page_of(repo: Any) -> str:
    return str((repo.path / "site" / "index.html").read_text())


def counts(text: str) -> dict[str, int]:
    found = re.findall(r'<span class="label">([^<]+)</span><b>([\d,]+)</b>', text)
    return {name: int(number) for name, number in found}


def test_site_shows_this_session_and_earlier_ones(repo: Any) -> None:
    repo.model("good").model("bad", "echo it went wrong; exit 3")
    repo.run("--mad-tags", "demo")
    result = repo.run("--mad-tags", "demo", "--mad-report=site")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"results site: {repo.path}/site/index.html"])
    text = page_of(repo)
    assert counts(text) == {"Results": 4, "Success": 2, "Failure": 2, "Skipped": 0, "Outside the band": 0}
    assert "script exited with 3" in text
    sessions = sorted(path.name for path in (repo.path / "mad-results").iterdir())
    assert f"#run={sessions[-1]}/bad" in text
    assert "2 sessions, the newest:" in text
    assert str(repo.path) not in text


def test_site_from_the_history_database(repo: Any) -> None:
    """Sessions whose results directory is gone are still in the database."""
    repo.model("m")
    url = f"--mad-db=sqlite:///{repo.path}/history.db"
    repo.run("--mad-tags", "demo", url, "--mad-results-dir=elsewhere")
    repo.run("--mad-tags", "demo", url, "--mad-report=site").assert_outcomes(passed=1)
    assert counts(page_of(repo))["Results"] == 2


def test_a_database_that_is_down_does_not_take_the_site_away(repo: Any) -> None:
    repo.model("m").run("--mad-tags", "demo")
    result = repo.run(
        "--mad-tags", "demo", f"--mad-db=sqlite:///{repo.path}/absent/h.db", "--mad-report=site"
    )
    result.assert_outcomes(passed=1)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["results site: *made from */mad-results instead"])
    assert counts(page_of(repo))["Results"] == 2
    assert "The history database was down" in page_of(repo)


def test_a_site_that_cannot_be_written_is_an_error(repo: Any) -> None:
    (repo.path / "site").write_text("a file")
    result = repo.model("m").run("--mad-tags", "demo", "--mad-report=site")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--mad-report: *site/index.html cannot be written*"])
    assert repo.statuses() == {}


def test_secrets_do_not_reach_the_site(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAD_SECRETS_TOKEN", "hunter2-planted")
    repo.model("m", "echo token is $MAD_SECRETS_TOKEN; exit 1")
    repo.run("--mad-tags", "demo", "--mad-report=site", "--mad-db=sqlite:///h.db")
    text = page_of(repo)
    blocks = re.findall(r'<script type="text/plain" (?:id="mad-data"|class="mad-details")>([^<]+)<', text)
    embedded = [zlib.decompress(base64.b64decode(block)) for block in blocks]
    assert len(embedded) == 2
    assert b"token is ***" in embedded[1]
    assert not any(b"hunter2-planted" in data for data in [*embedded, text.encode()])


def test_perf_html_knows_why_a_model_failed(repo: Any) -> None:
    """At the end of a run perf.html has what the records know: reasons, logs, the session."""
    repo.model("good").model("bad", "echo it broke; exit 7")
    repo.run("--mad-tags=all")
    page = (repo.path / "perf.html").read_text()
    assert "script exited with 7" in page
    run_id = repo.records()[0]["run_id"]
    assert run_id in page
