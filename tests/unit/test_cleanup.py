"""Ages of ``python -m pytest_madengine cleanup``."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.__main__ import main
from pytest_madengine.cleanup import parse_age
from pytest_madengine.errors import ConfigError


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


def test_a_wrong_age_exits_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cleanup", "--older", "soon"]) == 4
    assert "write 30m, 2h or 7d" in capsys.readouterr().err


def test_without_an_engine_the_reason_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    assert main(["cleanup"]) == 1
    assert capsys.readouterr().err.startswith("ERROR: ")
