"""``madengine report``: every command with every spelling, exit statuses, what is printed."""

from __future__ import annotations

import csv
import email
import email.policy
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from pytest_madengine.cli.app import make_app
from typer.testing import CliRunner

APP = make_app("madengine")
ENTRY = {"model": "m", "performance": "14164", "metric": "sps", "status": "SUCCESS", "tags": ["a", "b"]}
TABLE = "model,performance,metric,status\ngood,1,sps,SUCCESS\nbad,,,FAILURE\n"


def call(*words: str, status: int = 0, **environment: str) -> str:
    """Output of a command that ends with this status."""
    result = CliRunner().invoke(APP, ["report", *words], env={"MAD_SMTP_USER": None, **environment})  # type: ignore[dict-item]
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of every command."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(name: str = "perf.csv") -> list[dict[str, str]]:
    with Path(name).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_group_shows_its_commands() -> None:
    text = call()
    for name in ("to-html", "to-email", "update-perf"):
        assert name in text
        assert "Examples:" in call(name, "--help")


# ---- to-html --------------------------------------------------------------------------------------------


def test_to_html() -> None:
    Path("perf.csv").write_text(TABLE)
    Path("night.csv").write_text(TABLE)
    assert "page: perf.html" in call("to-html")
    assert "page: night.html" in call("to-html", "--csv-file-path", "night.csv")
    assert Path("perf.html").read_text().count('<table class="dataframe">') == 1
    Path("results").mkdir()
    call("to-html", "--results-dir", "results")


def test_to_html_of_nothing() -> None:
    assert "perf.csv does not exist" in call("to-html", status=1)
    Path("x.txt").write_text(TABLE)
    assert "x.txt" in call("to-html", "--csv-file-path=x.txt", status=4)
    Path("perf.csv").write_text(TABLE)
    call("to-html", "--results-dir", "nowhere", status=4)


# ---- to-email -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--directory", "."],
        ["--dir", "."],
        ["--csv-file-path", "."],
        ["--csv-file-path", "perf.csv"],
        ["--csv-file-path", "perf.csv", "--dir", "."],
    ],
)
def test_to_email_finds_its_files(words: list[str]) -> None:
    Path("perf.csv").write_text(TABLE)
    assert call("to-email", *words) == "page: run_results.html\n"
    page = Path("run_results.html").read_text()
    assert page.count("<h2> perf </h2>") == 1
    assert page.count('class="dataframe"') == 1


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_to_email_of_a_directory(here: Path, option: str) -> None:
    """One page, a table of each file, by name."""
    (here / "d").mkdir()
    for name in ("b", "a"):
        (here / f"d/{name}.csv").write_text(TABLE)
    call("to-email", "--dir", "d", option, "out/p.html")
    page = Path("out/p.html").read_text()
    assert page.index("<h2> a </h2>") < page.index("<h2> b </h2>")
    assert not Path("run_results.html").exists()
    call("to-email", "--dir", "d", "--csv-file-path", "b.csv")
    assert "<h2> a </h2>" not in Path("run_results.html").read_text()


def test_to_email_of_nothing() -> None:
    assert "has no CSV files" in call("to-email", status=1)
    assert "x.csv does not exist" in call("to-email", "--csv-file-path", "x.csv", status=1)
    Path("x.txt").write_text(TABLE)
    assert "no .csv file" in call("to-email", "--csv-file-path", "x.txt", status=4)
    Path("x.csv").write_text(TABLE)
    assert "nowhere is no directory" in call("to-email", "--results-dir", "nowhere", status=4)
    Path("taken").mkdir()
    assert "cannot be written" in call("to-email", "-o", "taken", status=1)
    assert "cannot be written" in call("to-email", "--eml", "taken", status=1)


def test_eml() -> None:
    Path("perf.csv").write_text(TABLE)
    assert call("to-email", "--eml", "m.eml") == "page: run_results.html\nmessage: m.eml\n"
    data = Path("m.eml").read_bytes()
    assert b"\r\n" in data
    read = email.message_from_bytes(data, policy=email.policy.default)
    assert read["subject"] == "MAD results: 1 FAILURE, 1 SUCCESS (perf)"
    assert "@" in read["from"]
    assert read["to"] is None
    call("to-email", "--eml", "m.eml", "--from", "Nights <n@example.com>")
    assert b"From: Nights <n@example.com>\r\n" in Path("m.eml").read_bytes()


def test_a_host_name_that_no_address_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "odd host,name")
    Path("perf.csv").write_text(TABLE)
    call("to-email", "--eml", "m.eml")
    assert b"From: madengine@localhost\r\n" in Path("m.eml").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--smtp", "h"], "--to is missing"),
        (["--to", "a@b"], "--smtp is missing"),
        (["--smtp", "h:x", "--to", "a@b"], "is no HOST[:PORT]"),
        (["--smtp", "h", "--to", "a@b, c@d"], "is no e-mail address"),
        (["--smtp", "h", "--to", "a@b\nBcc: c@d"], "is no e-mail address"),
        (["--smtp", "h", "--to", "a@b", "--from", "x"], "--from: 'x' is no e-mail address"),
        (["--smtp", "h", "--to", "a@b", "--smtp-tls", "ssl"], "--smtp-tls: 'ssl'"),
    ],
)
def test_wrong_arguments_of_sending(words: list[str], said: str) -> None:
    Path("perf.csv").write_text(TABLE)
    assert said in call("to-email", *words, status=4)


class Box:
    """Handler of a mail server."""

    def __init__(self) -> None:
        self.envelopes: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.envelopes.append(envelope)
        return "250 OK" if b"refuse" not in envelope.content else "554 no thanks"


@pytest.fixture
def server() -> Iterator[tuple[Box, str]]:
    """A mail server on loopback, and its HOST:PORT."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    box = Box()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, f"127.0.0.1:{port}"
    controller.stop()


def test_send(server: tuple[Box, str]) -> None:
    box, where = server
    Path("perf.csv").write_text(TABLE)
    words = ["--smtp", where, "--to", "a@b.example", "--to", "C <c@d.example>", "--from", "m@e.example"]
    assert f"sent to a@b.example, c@d.example by {where}\n" in call("to-email", *words, "--smtp-tls", "none")
    (envelope,) = box.envelopes
    assert envelope.rcpt_tos == ["a@b.example", "c@d.example"]
    assert b"To: a@b.example, C <c@d.example>\r\n" in envelope.content
    assert Path("run_results.html").exists()


def test_a_refusal_is_one_line(server: tuple[Box, str]) -> None:
    _, where = server
    Path("refuse.csv").write_text(TABLE)
    text = call("to-email", "--smtp", where, "--to", "a@b", status=1)
    assert f"ERROR: {where}: the message was not sent: 554 no" in text
    assert "Traceback" not in text


# ---- update-perf ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "status"),
    [
        ("--single_result", "SUCCESS"),
        ("--single-result", "SUCCESS"),
        ("--exception-result", "FAILURE"),
        ("--failed-result", "FAILURE"),
    ],
)
def test_update_perf(option: str, status: str) -> None:
    Path("e.json").write_text(json.dumps(ENTRY))
    assert call("update-perf", option, "e.json") == f"perf.csv: 1 row of m added, {status}\n"
    call("update-perf", option, "e.json", "--perf-csv", "other/night.csv")
    for name in ("perf.csv", "other/night.csv"):
        (row,) = rows(name)
        assert (row["status"], row["performance"], row["tags"]) == (status, "14164", "a,b")
    assert {"perf_entry.json", "perf_super.json", "perf.html"} <= {path.name for path in Path().iterdir()}


def test_update_perf_with_multiple_results() -> None:
    Path("r.csv").write_text("model,performance,metric\n1,10,sps\n2,,sps\n")
    Path("c.json").write_text('{"n_gpus": "8"}')
    words = ["--multiple-results", "r.csv", "--common-info", "c.json", "--model-name", "m"]
    text = call("update-perf", *words)
    assert "perf.csv: 2 rows of m added, FAILURE" in text
    assert "WARNING: 1 of 2 rows have no performance: 2" in text
    assert [(row["model"], row["status"], row["n_gpus"]) for row in rows()] == [
        ("m_1", "SUCCESS", "8"),
        ("m_2", "FAILURE", "8"),
    ]
    assert json.loads(Path("common_info.json").read_text())["n_gpus"] == "8"


def test_a_results_file_that_is_no_good() -> None:
    """Its row is a FAILURE (contract 12.3), and so is the command."""
    Path("c.json").write_text("{}")
    words = ["--multiple-results", "r.csv", "--common-info", "c.json", "--model-name", "m"]
    assert "r.csv cannot be read: No such file" in call("update-perf", *words, status=1)
    Path("r.csv").write_text("model,performance\n1,2\n")
    assert "is missing the metric column" in call("update-perf", *words, status=1)
    assert [row["status"] for row in rows()] == ["FAILURE", "FAILURE"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no result is given"),
        (
            ["--single-result", "e.json", "--failed-result", "e.json"],
            "only one of --single-result, --failed-result",
        ),
        (["--multiple-results", "r.csv", "--single_result", "e.json"], "only one of"),
        (["--multiple-results", "r.csv"], "--common-info is missing"),
        (["--multiple-results", "r.csv", "--common-info", "e.json"], "--model-name is missing"),
        (["--single-result", "e.json", "--model-name", "m"], "--model-name belongs to --multiple-results"),
        (["--failed-result", "e.json", "--common-info", "e.json"], "--common-info belongs to"),
        (["--exception-result", "torn.json"], "torn.json is no JSON"),
        (["--single-result", "e.json", "--perf-csv", "torn.json"], "is no perf.csv"),
    ],
)
def test_wrong_arguments_of_update_perf(words: list[str], said: str) -> None:
    Path("e.json").write_text(json.dumps(ENTRY))
    Path("torn.json").write_text('{"model"')
    assert said in call("update-perf", *words, status=4)
    assert not Path("perf.csv").exists()


def test_a_missing_entry() -> None:
    assert "e.json cannot be read" in call("update-perf", "--single-result", "e.json", status=1)


def test_upload(here: Path) -> None:
    """``--db-url`` uploads perf.csv; the same rows once."""
    Path("e.json").write_text(json.dumps(ENTRY))
    for number in (1, 2):
        text = call("update-perf", "--single-result", "e.json", "--db-url", f"sqlite:///{here}/h.db")
        assert f"h.db: 1 of {number} rows inserted" in text
    with sqlite3.connect(here / "h.db") as connection:
        assert (
            connection.execute("select model, performance from dlm_table").fetchall() == [("m", "14164")] * 2
        )
    connection.close()


def test_a_database_that_is_down(here: Path) -> None:
    """The row is there all the same, the command to repeat is named, the password is not."""
    Path("e.json").write_text(json.dumps(ENTRY))
    url = f"sqlite:///{here}/no/such/dir/h.db"
    text = call("update-perf", "--single-result", "e.json", "--db-url", url, status=1)
    assert "run later:" in text
    assert len(rows()) == 1
    text = call("update-perf", "--single-result", "e.json", "--db-url", "u:planted-4711@h", status=4)
    assert len(rows()) == 2


def test_perf_csv_alone_is_looked_at() -> None:
    """faults 5.7: given --perf-csv and no result (users' guide), then nothing is added, and 0."""
    Path("perf.csv").write_text(TABLE)
    assert call("update-perf", "--perf-csv", "perf.csv") == "perf.csv: no results to add\n"
    assert Path("perf.csv").read_text() == TABLE
    call("update-perf", status=4)


@pytest.mark.parametrize("data", [TABLE.replace(",", ";").encode(), TABLE.encode("utf-16"), b"a,b\n1,2\n"])
def test_a_file_that_no_run_would_append_to_makes_no_page(data: bytes) -> None:
    """faults 5.10: given another separator, encoding or table, then refused as a run refuses it."""
    Path("perf.csv").write_bytes(data)
    refused = call("to-html", status=4)
    assert refused.startswith("ERROR: perf.csv is no perf.csv: its header has no column")
    assert refused.splitlines()[0] == call("update-perf", "--perf-csv", "perf.csv", status=4).splitlines()[0]
    assert not Path("perf.html").exists()
