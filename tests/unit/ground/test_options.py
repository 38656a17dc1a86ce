"""The table of options: each carries all that is to be known about it, and reads its own value."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.cli import app
from pytest_madengine.options import BY_NAME, LONGEST_LIMIT, OPTIONS
from pytest_madengine.options.option import FLAG, INT, LIST, PANELS, SECONDS, SEVERAL, Option
from pytest_madengine.settings import Settings

every_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


@every_option
def test_an_option_without_a_value_has_the_default_of_its_setting(option: Option) -> None:
    """Given nothing, then the value is what Settings has by itself: one default, not two."""
    fields = {field.name: field.default for field in dataclasses.fields(Settings)}
    assert (option.field in fields) or not option.setting
    default = fields.get(option.field, dataclasses.MISSING)
    if option.setting and default is not dataclasses.MISSING:
        assert option.value(None) == default


def test_every_setting_has_an_option() -> None:
    settings = {field.name for field in dataclasses.fields(Settings)} - {"root", "environ", "executor"}
    assert settings == {option.field for option in OPTIONS if option.setting}


@every_option
def test_an_option_stands_where_people_look(option: Option) -> None:
    assert option.panel in PANELS
    assert set(option.commands) <= set(app.COMMANDS)


def test_names_are_unique() -> None:
    names = [name for option in OPTIONS for name in option.names]
    assert len(names) == len(set(names))
    assert len(BY_NAME) == len(OPTIONS)


def read(option: Option, raw: Any) -> tuple[Any, str]:
    """The value, or why there is none."""
    try:
        return option.value(raw), ""
    except ValueError as error:
        return None, str(error)


@every_option
@given(raw=st.one_of(st.text(), st.integers().map(str), st.floats().map(str)))
def test_any_text_is_a_value_or_an_error_with_a_reason(option: Option, raw: str) -> None:
    """Given any text, then a value of the type of its kind, or a ValueError that names what it should be."""
    given_value: Any = [raw] if option.kind in (LIST, SEVERAL) else raw
    value, reason = read(option, given_value)
    if reason:
        assert reason.startswith(("one of", "true or", "a "))
        return
    if option.kind in (LIST, SEVERAL):
        assert value == (raw,)
    elif option.kind is FLAG:
        assert value in (True, False)
    elif option.kind in (INT, SECONDS):
        assert value is None or -1 <= value <= LONGEST_LIMIT
    elif isinstance(value, Path):
        assert raw.strip() or option.default


@pytest.mark.parametrize(
    ("name", "raw", "value"),
    [
        ("timeout", " 60 ", 60),
        ("timeout", "-1", -1),
        ("timeout-pull", "0", None),
        ("timeout-pull", "1.5", 1.5),
        ("live", "Off", False),
        ("live", True, True),
        ("target-archs", "gfx90a, gfx942 gfx90a", ("gfx90a", "gfx942")),
        ("output", "  ", Path("perf.csv")),
        ("report", "", None),
        ("registry", None, ""),
        ("tags", ["a,b", "c"], ("a,b", "c")),
    ],
)
def test_values(name: str, raw: Any, value: Any) -> None:
    assert BY_NAME[name].value(raw) == value


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        *(("timeout", text) for text in ("", "1.5", "-2", "1_0", "nan", "\u0661", "1000000001", "9" * 5000)),
        *(("timeout-pull", text) for text in ("", "-2", "nan", "inf", "1e10")),
        *(("retries", text) for text in ("-1", "two", "\u0662", "9" * 5000)),
        *(("live", text) for text in ("", "maybe")),
        ("gpu-busy", "Warn"),
        ("output", "~nobody-of-this-name/x"),
    ],
)
def test_wrong_values(name: str, raw: str) -> None:
    with pytest.raises(ValueError, match=r"^(one of|true or|a )"):
        BY_NAME[name].value(raw)
