"""Command line and ini options, their environment twins, and the :class:`Settings` made of them.

Every option ``--mad-some-name`` has an ini twin ``mad_some_name`` and an environment twin
``MAD_PYTEST_SOME_NAME``.  Precedence: command line, environment, ini, default.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.options import LONGEST_LIMIT
from pytest_madengine.options import OPTIONS as OPTIONS
from pytest_madengine.options import Option as Option

if TYPE_CHECKING:
    from pytest_madengine.settings import Settings

#: Settings of files, and where they are below the MAD root when nobody names them.
DEFAULT_FILES = {
    "tools_config": "scripts/common/tools.json",
    "data_config": "data.json",
    "credentials": "credential.json",
}

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def add_options(parser: pytest.Parser) -> None:
    """Registers every option with its ini twin in the group ``mad``."""
    group = parser.getgroup("mad", "pytest-madengine: models of a MAD repository as tests")
    for option in OPTIONS:
        names = (f"--mad-{option.name}", *option.aliases)
        attributes: dict[str, Any] = {"dest": option.dest, "default": None}
        attributes["help"] = option.help + (f" (default: {option.default})" if option.default else "")
        if option.kind == "flag":
            group.addoption(*names, action="store_true", **attributes)
        else:
            attributes["action"] = "append" if option.kind == "list" else "store"
            attributes["metavar"] = option.metavar or None
            attributes["choices"] = option.choices or None
            if option.const:
                attributes.update(nargs="?", const=option.const)
            group.addoption(*names, **attributes)
        ini_type: Any = {"flag": "bool", "list": "args"}.get(option.kind, "string")
        parser.addini(option.dest, f"twin of --mad-{option.name}", type=ini_type, default=None)
    parser.addini("mad", "this is a MAD repository: let -m and -k select models", type="bool", default=False)
    parser.addini("mad_junit_properties", "mad.* properties of JUnit cases", type="bool", default=True)


#: Options whose environment or ini twin alone turns the plugin on: they say what to run.
ACTIVATING = frozenset({"tags", "manifest", "batch-manifest"})


def is_given(config: pytest.Config) -> bool:
    """True when any ``--mad-*`` option is given, or a twin that says what to run (design section 4).

    Other environment variables, set for all jobs of a CI system, do not turn the plugin on.
    """
    values = vars(config.option)
    if any(values.get(option.dest) is not None for option in OPTIONS):
        return True
    active = [option for option in OPTIONS if option.name in ACTIVATING]
    return any(option.env in os.environ or config.getini(option.dest) for option in active)


def raw_value(config: pytest.Config, name: str, environ: Mapping[str, str]) -> tuple[Any, str]:
    """The value of an option as given, and where it came from: ``option``, ``env``, ``ini``, ``default``."""
    option = _BY_NAME[name]
    value = getattr(config.option, option.dest, None)
    if value is not None:
        return value, "option"
    if option.env in environ:
        text = environ[option.env]
        if option.kind == "flag":
            return _boolean(option, text), "env"
        return ([text] if option.kind == "list" else text), "env"
    value = config.getini(option.dest)
    if value is not None and value not in ("", []):
        return value, "ini"
    return None, "default"


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

    :raises pytest.UsageError: a value has the wrong type; the message names the option and its source.
    """
    from pytest_madengine.settings import Settings

    values: dict[str, Any] = {"root": root, "environ": dict(environ)}
    base = config.invocation_params.dir
    for option in OPTIONS:
        name = option.dest.removeprefix("mad_")
        if name in ("root", "plan", "list_tags", "heartbeat"):
            continue
        raw, source = raw_value(config, option.name, environ)
        # Paths of an ini file are relative to the rootdir, like all paths in pytest ini files.
        anchor = config.rootpath if source == "ini" else base
        if raw is None or (option.kind == "path" and not str(raw).strip()):
            raw = option.default or None
        values[name] = _convert(option, raw, anchor, source)
        if name in DEFAULT_FILES:
            values[name] = given_file(values[name], DEFAULT_FILES[name], root, base)
    for name in ("tags", "collect", "target_archs"):
        values[name] = tuple(values[name] or ())
    for name in ("context", "gpus", "simulate_gpus", "resume", "db", "registry", "use_image"):
        values[name] = values[name] or ""
    return Settings(**values)


def given_file(path: Path | None, default: str, root: Path, base: Path) -> Path | None:
    """A file that was named, or ``None``: scripts of madengine name defaults that need not be there.

    :param default: where it is when nobody names it, below the MAD root.
    :param base: directory of relative paths.
    """
    if path is None or path.exists():
        return path
    usual = {os.path.normpath(place / default) for place in (root, base)}
    return None if os.path.normpath(path) in usual else path


def seconds(config: pytest.Config, name: str, environ: Mapping[str, str]) -> float | None:
    """A ``seconds`` option outside of :class:`Settings`."""
    raw, source = raw_value(config, name, environ)
    option = _BY_NAME[name]
    value = _convert(option, option.default if raw is None else raw, config.rootpath, source)
    return None if value is None else float(value)


def _convert(option: Option, raw: Any, anchor: Path, source: str) -> Any:
    if option.kind == "flag":
        return bool(raw)
    if raw is None:
        return None
    if option.choices and raw not in option.choices:
        raise _usage(option, raw, source, "one of " + ", ".join(option.choices))
    if option.kind == "path":
        path = Path(str(raw)).expanduser()
        return path if path.is_absolute() else anchor / path
    if option.kind == "boolean":
        return _boolean(option, str(raw))
    if option.kind == "words":
        return tuple(dict.fromkeys(str(raw).replace(",", " ").split()))
    if option.kind == "int":
        try:
            number = int(str(raw))
        except ValueError:
            raise _usage(option, raw, source, "a whole number of seconds, or -1 for none") from None
        if not -1 <= number <= LONGEST_LIMIT:
            raise _usage(
                option, raw, source, f"a whole number of seconds up to {LONGEST_LIMIT}, or -1 for none"
            )
        return number
    if option.kind == "count":
        text = str(raw).strip()
        if not (text.isascii() and text.isdecimal()) or len(text) > 9:
            raise _usage(option, raw, source, "a whole number, 0 or more")
        return int(text)
    if option.kind == "seconds":
        try:
            value = float(str(raw))
        except ValueError:
            raise _usage(option, raw, source, "a number of seconds") from None
        if value != -1 and not 0 <= value <= LONGEST_LIMIT:
            raise _usage(option, raw, source, f"a number of seconds up to {LONGEST_LIMIT}, or -1 for none")
        return value if value > 0 else None
    return raw


def _boolean(option: Option, text: str) -> bool:
    lowered = text.strip().lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise _usage(option, text, "given", "a boolean: true or false")


def _usage(option: Option, raw: object, source: str, expected: str) -> pytest.UsageError:
    where = {"env": option.env, "ini": f"ini option {option.dest}"}.get(source, f"--mad-{option.name}")
    return pytest.UsageError(f"{where}: {raw!r} is not {expected}")


_BY_NAME = {option.name: option for option in OPTIONS}
