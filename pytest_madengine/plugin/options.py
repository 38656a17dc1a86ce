"""Command line and ini options, their environment twins, and the :class:`Settings` made of them.

Every option ``--mad-some-name`` has an ini twin ``mad_some_name`` and an environment twin
``MAD_PYTEST_SOME_NAME``.  Precedence: command line, environment, ini, default.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.options import BY_NAME, OPTIONS
from pytest_madengine.options.option import FLAG, LIST, PATH, SEVERAL, SOURCE, Option

if TYPE_CHECKING:
    from pytest_madengine.settings import Settings


def add_options(parser: pytest.Parser) -> None:
    """Registers every option with its ini twin in the group ``mad``."""
    group = parser.getgroup("mad", "pytest-madengine: models of a MAD repository as tests")
    for option in OPTIONS:
        attributes: dict[str, Any] = {"dest": option.dest, "default": None}
        text = option.help + (f" (default: {option.default})" if option.default else "")
        attributes["help"] = text.replace("%", "%%")  # argparse formats it
        if option.kind is FLAG:
            attributes["action"] = "store_true"
        else:
            attributes["action"] = "append" if option.kind in (LIST, SEVERAL) else "store"
            attributes["metavar"] = option.metavar or None
            if option.const:
                attributes.update(nargs="?", const=option.const)
        group.addoption(*option.names, **attributes)
        parser.addini(option.dest, f"twin of --mad-{option.name}", type=option.kind.ini, default=None)
    parser.addini("mad", "this is a MAD repository: let -m and -k select models", type="bool", default=False)
    parser.addini("mad_junit_properties", "mad.* properties of JUnit cases", type="bool", default=True)


def is_given(config: pytest.Config) -> bool:
    """True when any ``--mad-*`` option is given, or a twin that says what to run (design section 4).

    Other environment variables, set for all jobs of a CI system, do not turn the plugin on.
    """
    values = vars(config.option)
    return any(
        values.get(option.dest) is not None
        or (option.activates and (option.env in os.environ or from_ini(config, option.dest)))
        for option in OPTIONS
    )


def from_ini(config: pytest.Config, key: str) -> Any:
    """The value of an ini key of ours.

    :raises pytest.UsageError: it is of the wrong type; the message names the key and the file.
    """
    try:
        return config.getini(key)
    except (TypeError, ValueError, pytest.UsageError) as error:  # pytest before 9.2: the first two
        text = str(error).removeprefix(f"{config.inipath}: ")
        raise pytest.UsageError(f"{_ini_place(config, key)}: {text}") from None


def raw_value(config: pytest.Config, name: str, environ: Mapping[str, str]) -> tuple[Any, str]:
    """The value of an option as given, and where it came from: ``option``, ``env``, ``ini``, ``default``.

    :raises pytest.UsageError: a switch is neither on nor off.
    """
    option = BY_NAME[name]
    value, source = getattr(config.option, option.dest, None), "option"
    if value is None:
        value, source = environ.get(option.env), "env"
    if value is None:
        value, source = from_ini(config, option.dest), "ini"
    if value is None or (source == "ini" and value in ("", [])):
        return None, "default"
    if option.kind is FLAG:
        value = _value(config, option, value, source)
    return ([value] if option.kind in (LIST, SEVERAL) and isinstance(value, str) else value), source


def raw_flag(config: pytest.Config, name: str) -> bool:
    """A flag, before any :class:`Settings` exist."""
    return bool(raw_value(config, name, os.environ)[0])


#: pytest's own options that show something and run no test.
_SHOWING = (
    *("collectonly", "setuponly", "setupplan", "showfixtures", "show_fixtures_per_test"),
    *("cacheshow", "markers", "help"),
)


def runs_nothing(config: pytest.Config) -> bool:
    """True when no model will run: with ``--mad-plan``, or an option of pytest that only shows something."""
    return raw_flag(config, "plan") or any(getattr(config.option, name, None) for name in _SHOWING)


def resolve(config: pytest.Config, root: Path, environ: Mapping[str, str]) -> Settings:
    """All options as :class:`Settings`.

    :raises pytest.UsageError: a value is of a wrong kind; the message names where it came from.
    """
    from pytest_madengine.settings import Settings

    values: dict[str, Any] = {"root": root, "environ": dict(environ)}
    base = config.invocation_params.dir
    for option in OPTIONS:
        if not option.setting:
            continue
        raw, source = raw_value(config, option.name, environ)
        value = _value(config, option, raw, source)
        if option.kind is PATH and value is not None:
            # Paths of an ini file are relative to the rootdir, like all paths in pytest ini files.
            value = (config.rootpath if source == "ini" else base) / value
        elif option.kind is SOURCE and value and "://" not in value:
            value = str((config.rootpath if source == "ini" else base) / Path(value).expanduser())
        values[option.field] = given_file(value, option.usual, root, base) if option.usual else value
    return Settings(**values)


def given_file(path: Path | None, usual: str, root: Path, base: Path) -> Path | None:
    """A file that was named, or ``None``: scripts of madengine name defaults that need not be there.

    :param usual: where it is when nobody names it, below the MAD root.
    :param base: directory of relative paths.
    """
    if path is None or path.exists():
        return path
    places = {os.path.normpath(place / usual) for place in (root, base)}
    return None if os.path.normpath(path) in places else path


def seconds(config: pytest.Config, name: str, environ: Mapping[str, str]) -> float | None:
    """A ``seconds`` option outside of :class:`Settings`."""
    value: float | None = _value(config, BY_NAME[name], *raw_value(config, name, environ))
    return value


def _value(config: pytest.Config, option: Option, raw: Any, source: str) -> Any:
    try:
        return option.value(raw)
    except ValueError as error:
        place = _place(config, option, source)
        raise pytest.UsageError(f"{place}: {raw!r:.60} is not {error}") from None


def _place(config: pytest.Config, option: Option, source: str) -> str:
    """Where a value came from, in words that lead there."""
    if source == "env":
        return f"environment variable {option.env}"
    if source == "ini":
        return _ini_place(config, option.dest)
    typed = _spelling(option, config.invocation_params.args)
    if typed:
        return typed
    typed = _spelling(option, os.environ.get("PYTEST_ADDOPTS", "").split())
    if typed:
        return f"{typed} in environment variable PYTEST_ADDOPTS"
    typed = _spelling(option, config.getini("addopts"))
    return f"{typed} in {_ini_place(config, 'addopts')}" if typed else option.names[0]


def _spelling(option: Option, words: Iterable[object]) -> str:
    """The spelling of an option among the words of a command line; empty: it is not there."""
    given = {str(word).partition("=")[0] for word in words}
    return next((name for name in option.names if name in given), "")


def _ini_place(config: pytest.Config, key: str) -> str:
    overrides = config.getoption("override_ini", None) or ()
    if any(word.partition("=")[0].strip() == key for word in overrides):
        return f"-o {key}"
    return f"{key} in {config.inipath}"
