"""Checks of the files beside models.json: data.json, tools.json, credential.json."""

from __future__ import annotations

import difflib
import json
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_madengine.data.config import MIRROR, WRAPPER, DataConfig, parse_config
from pytest_madengine.data.service import DEFAULT_FILE, provider_order
from pytest_madengine.errors import ConfigError
from pytest_madengine.lint import rules
from pytest_madengine.lint.documents import Collector, Document, Entry, Texts
from pytest_madengine.lint.findings import Place
from pytest_madengine.lint.leaks import find_leaks, is_secret_value
from pytest_madengine.plan.tools import ToolsConfig, load_tools
from pytest_madengine.plan.wording import did_you_mean
from pytest_madengine.resources import builtin_tools, scripts_common

TOOLS_FILE: Final = "scripts/common/tools.json"
CREDENTIALS_FILE: Final = "credential.json"
_GIT_LIMIT: Final = 20
_HINT: Final = "take it out and revoke it; pass it by credential.json or as MAD_SECRETS_*"


def check_leaks(document: Document, collector: Collector) -> None:
    """Secrets by their form, anywhere in a JSON file."""
    for leak in find_leaks(document.positions.text):
        place = Place(document.path, *document.positions.at(leak.offset))
        collector.add(rules.SECRET, place, f"looks like {leak.what}", hint=_HINT)


# ---- data.json --------------------------------------------------------------------------------------------


class DataChecks:
    """``data.json``, and the names that models ask for.

    :param given: names of the context, which replace those of the file.
    """

    def __init__(self, texts: Texts, collector: Collector, given: object = None) -> None:
        self._collector = collector
        self._config: DataConfig | None = None
        self._broken = False
        #: Names that only the context has.
        self._given = _names(given)
        if (texts.root / DEFAULT_FILE).exists():
            document = texts.json(DEFAULT_FILE)
            self._broken = document is None
            if document is not None:
                self._read(document)

    def _read(self, document: Document) -> None:
        check_leaks(document, self._collector)
        providers = {name: provider.fields for name, provider in provider_order(()).items()}
        try:
            self._config = parse_config(document.positions.text, DEFAULT_FILE, providers)
        except ConfigError as error:
            text = error.message.removeprefix(f"data configuration {DEFAULT_FILE}: ")
            self._collector.add(rules.INVALID_JSON, document.place(), text)
            self._broken = True
            return
        for warning in self._config.warnings:
            text = warning.removeprefix(f"{DEFAULT_FILE}: ")
            self._collector.add(rules.ODD_DATA, document.place(), text)
        wrapped = isinstance(document.value, Mapping) and isinstance(document.value.get(WRAPPER), Mapping)
        for name, data in self._config.names.items():
            path = (WRAPPER, name) if wrapped else (name,)
            place = document.place(*path, key=True)
            found = [(rules.INVALID_DATA, data.error)] if data.error else []
            for rule, text in (*found, *((rules.ODD_DATA, warning) for warning in data.warnings)):
                self._collector.add(rule, place, text.removeprefix(f"{DEFAULT_FILE}: "))
        for secret, name in _secret_values(document.value, ()):
            text = f"the value of {name} is a literal"
            self._collector.add(rules.SECRET_VALUE, document.place(*secret), text, hint=_HINT)

    def check(self, entry: Entry) -> None:
        """The data names of one model."""
        model = entry.model
        names = [name.strip() for name in model.data.split(",") if name.strip()]
        for name in names if not self._broken else ():
            if name in self._given:
                continue
            if self._config is None:
                text = f"data {name!r}: there is no {DEFAULT_FILE}, so it runs without data"
                self._collector.add(rules.NO_DATA_FILE, entry.place("data"), text, model=model.name)
            elif name not in self._config.names:
                close = self._config.close_matches(name)
                self._collector.add(
                    rules.UNKNOWN_DATA,
                    entry.place("data"),
                    f"data name {name!r} is not defined in {DEFAULT_FILE}",
                    hint=f"did you mean {' or '.join(map(repr, close))}?" if close else "",
                    model=model.name,
                )


def _names(given: object) -> frozenset[str]:
    if not isinstance(given, Mapping):
        return frozenset()
    names = given[WRAPPER] if isinstance(given.get(WRAPPER), Mapping) else given
    return frozenset(name for name in names if name != MIRROR)


def _secret_values(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Paths of literal values under the name of a secret."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if is_secret_value(name, part):
                yield (*path, name), name
            else:
                yield from _secret_values(part, (*path, name))


# ---- tools.json -------------------------------------------------------------------------------------------


def check_tools(texts: Texts, collector: Collector) -> ToolsConfig:
    """``scripts/common/tools.json``; returns the built-in tools with what can be used of it on top."""
    tools = load_tools(builtin_tools(), None, TOOLS_FILE)
    if not (texts.root / TOOLS_FILE).exists():
        return tools
    document = texts.json(TOOLS_FILE)
    if document is None:
        return tools
    check_leaks(document, collector)
    if not isinstance(document.value, dict):
        collector.add(rules.INVALID_JSON, document.place(), "not a JSON object")
        return tools
    for key in document.value.keys() - {"tools", "docker"}:
        hint = did_you_mean(key, ("tools", "docker")) or "known are tools and docker"
        text = f"unknown field {key!r}"
        collector.add(rules.ODD_TOOLS, document.place(key, key=True), text, hint=hint)
    for path, part in _parts(document.value):
        try:
            found = load_tools({}, json.dumps(part), TOOLS_FILE)
        except ConfigError as error:
            text = error.message.removeprefix(f"{TOOLS_FILE}: ")
            collector.add(rules.INVALID_TOOL, document.place(*path), text, hint=error.hint)
            continue
        _hook_scripts(found, path, document, texts, collector)
        tools = ToolsConfig(
            {**tools.tools, **found.tools},
            {**tools.docker_build_args, **found.docker_build_args},
            {**tools.docker_environment, **found.docker_environment},
        )
    return tools


def _parts(value: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Each tool and the rest by itself: one that is wrong hides no other."""
    tools = value.get("tools")
    if isinstance(tools, Mapping):
        for name, tool in tools.items():
            yield ("tools", name), {"tools": {name: tool}}
    elif tools is not None:
        yield ("tools",), {"tools": tools}
    if "docker" in value:
        yield ("docker",), {"docker": value["docker"]}


def _hook_scripts(
    found: ToolsConfig, path: tuple[str, ...], document: Document, texts: Texts, collector: Collector
) -> None:
    for tool in found.tools.values():
        for field, scripts in (("pre_scripts", tool.pre_scripts), ("post_scripts", tool.post_scripts)):
            for index, script in enumerate(scripts):
                builtin = scripts_common().parent.parent / script.path
                if not (texts.root / script.path).is_file() and not builtin.is_file():
                    text = f"tool {tool.name!r}: script {script.path} does not exist"
                    place = document.place(*path, field, index, "path")
                    collector.add(rules.NO_TOOL_SCRIPT, place, text)


# ---- credential.json --------------------------------------------------------------------------------------


def check_credentials(texts: Texts, entries: Sequence[Entry], collector: Collector) -> None:
    """``credential.json`` if there is one, and the keys that models need; only names of keys are shown."""
    path = texts.root / CREDENTIALS_FILE
    place = Place(CREDENTIALS_FILE)
    if not path.exists():
        return
    if path.stat().st_mode & (stat.S_IROTH | stat.S_IRGRP):
        collector.add(rules.READABLE_CREDENTIALS, place, "readable by others", hint="chmod 600 it")
    if _is_tracked(texts):
        hint = "git rm --cached it, add it to .gitignore, and revoke what is in it"
        collector.add(rules.TRACKED_CREDENTIALS, place, "tracked by git", hint=hint)
    document = texts.json(CREDENTIALS_FILE)
    if document is None:
        return
    if not isinstance(document.value, dict):
        collector.add(rules.INVALID_JSON, document.place(), "the top level must be an object")
        return
    known = {key for key, value in document.value.items() if isinstance(value, dict)}
    for entry in entries:
        key = entry.model.cred
        if key and key not in known:
            close = difflib.get_close_matches(key, sorted(known), n=1)
            collector.add(
                rules.UNKNOWN_CREDENTIAL,
                entry.place("cred"),
                f"credential {key!r} is not in {CREDENTIALS_FILE}",
                hint=f"did you mean {close[0]!r}?" if close else "",
                model=entry.model.name,
            )


def _is_tracked(texts: Texts) -> bool:
    """True when git has the file in its index; false as well when there is no git to ask."""
    # The settings keep git from running programs that the repository's own configuration names, and from
    # refusing a repository of another user, as those of CI systems are.
    settings = ["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*"]
    command = ["git", *settings, "-C", str(texts.root), "ls-files", "--", CREDENTIALS_FILE]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_GIT_LIMIT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # no git: nothing to say
        return False
    return done.returncode == 0 and bool(done.stdout.strip())
