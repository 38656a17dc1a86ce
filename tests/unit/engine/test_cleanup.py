"""Ages of ``madengine cleanup``."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.cli.app import make_app
from pytest_madengine.engine.leftovers import parse_age
from pytest_madengine.errors import ConfigError
from typer.testing import CliRunner


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90", 90), ("30m", 1800), ("2h", 7200), ("1.5d", 129600), ("1w", 604800)]
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@given(st.text())
def test_any_text_is_an_age_or_an_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_age(text) >= 0


@pytest.mark.parametrize("text", ["", "-1", "2 hours", "1y", "h"])
def test_no_age(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an age"):
        parse_age(text)


def test_a_wrong_age_exits_4() -> None:
    result = CliRunner().invoke(make_app("madengine"), ["cleanup", "--older", "soon"])
    assert result.exit_code == 4
    assert "write 30m, 2h or 7d" in result.stderr


def test_without_an_engine_the_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    result = CliRunner().invoke(make_app("madengine"), ["cleanup"])
    assert result.exit_code == 1
    assert result.stderr.startswith("ERROR: ")
