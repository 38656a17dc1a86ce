"""Ages of ``madengine cleanup``."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.cli.app import make_app
from pytest_madengine.engine.leftovers import Leftover, find, parse_age, remove
from pytest_madengine.engine.owner import KEPT, current_owner
from pytest_madengine.errors import ConfigError, EngineError
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


def engine(containers: list[dict[str, Any]]) -> tuple[Any, list[str]]:
    """An engine with these containers, and the ids of those that were removed."""
    removed: list[str] = []
    api = SimpleNamespace(
        containers=lambda **_: containers,
        networks=lambda **_: [],
        remove_container=lambda id, **_: removed.append(id),
    )
    return SimpleNamespace(api=api), removed


def test_a_kept_container_stays_while_its_session_is_seen_alive() -> None:
    """Given containers of --mad-keep-alive / when all is cleaned up / then the one of a session that runs
    here stays, and one whose owner ended or cannot be seen from here is removed."""
    mine = current_owner()
    owners = {
        "running": mine,
        "ended": replace(mine, pid=2**22 + 1),
        "hidden": replace(mine, namespace="pid:[1]"),
    }
    client, removed = engine(
        [
            {"Id": name, "State": "running", "Labels": {**owner.labels(), KEPT: "true"}}
            for name, owner in owners.items()
        ]
    )
    assert find(client, kept=False) == ()
    for one in find(client):
        assert remove(client, one)
    assert sorted(removed) == ["ended", "hidden"]


def test_an_image_in_use_is_an_error_and_a_container_on_its_way_out_is_none() -> None:
    def refuse(*_: object, **__: object) -> None:
        response: Any = SimpleNamespace(status_code=409)
        raise APIError("409", response, "in use")

    api = SimpleNamespace(remove_container=refuse, remove_image=refuse)
    client: Any = SimpleNamespace(api=api)
    assert not remove(client, Leftover("container", "c", "c", "", 0))
    with pytest.raises(EngineError, match="in use"):
        remove(client, Leftover("image", "i", "i", "", 0))
