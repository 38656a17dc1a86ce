"""Checks of launchers and docker options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.lint import rules
from pytest_madengine.lint.documents import Collector, Entry
from pytest_madengine.lint.leaks import find_arguments, is_secret_value
from pytest_madengine.plan.docker.flags import merge_notes, parse_elsewhere
from pytest_madengine.plan.launchers import canonical_launcher, master_port
from pytest_madengine.plan.runplan import DockerOptions
from pytest_madengine.plan.wording import did_you_mean

#: Fields of ``distributed`` (contract section 3).
_DISTRIBUTED: Final = (
    *("launcher", "nnodes", "nproc_per_node", "port", "master_port", "backend", "primus", "sglang_disagg"),
)
_OPTIONS: Final = "additional_docker_run_options"
#: What every run has unless its context says otherwise (contract 10.4).
_BASE: Final = DockerOptions(ipc="host")
_HINT: Final = "take it out; use credential.json, or a variable MAD_SECRETS_* of the host"


class OptionChecks:
    """Docker options and launchers; equal texts are read once."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._options: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {}

    def check(self, entry: Entry) -> None:
        """One model."""
        if entry.model.additional_docker_run_options:
            self._check_options(entry)
        if entry.model.distributed:
            self._check_distributed(entry)
        for leak in find_arguments(entry.model.args):
            self._secret(entry, "args", leak.what)
        for name, value in entry.model.env_vars.items():
            if is_secret_value(name, value):
                self._secret(entry, "env_vars", f"the value of {name}", name)

    def _secret(self, entry: Entry, field: str, what: str, *more: str) -> None:
        place = entry.place(field, *more)
        self._collector.add(
            rules.SECRET_VALUE, place, f"{field}: {what} is a literal", hint=_HINT, model=entry.model.name
        )

    def _check_options(self, entry: Entry) -> None:
        text, name = entry.model.additional_docker_run_options, entry.model.name
        if text not in self._options:
            self._options[text] = _read_options(text)
        error, hint, notes, secrets = self._options[text]
        if error:
            self._collector.add(rules.REFUSED_OPTION, entry.place(_OPTIONS), error, hint=hint, model=name)
        for note in notes:
            self._collector.add(rules.IDLE_OPTION, entry.place(_OPTIONS), note, model=name)
        for secret in secrets:
            self._secret(entry, _OPTIONS, secret)

    def _check_distributed(self, entry: Entry) -> None:
        block, name = entry.model.distributed, entry.model.name
        for key in block:
            if key not in _DISTRIBUTED:
                self._collector.add(
                    rules.ODD_DISTRIBUTED,
                    entry.place("distributed", key, key=True),
                    f"distributed: unknown field {key!r}",
                    hint=did_you_mean(key, _DISTRIBUTED) or f"known are {', '.join(_DISTRIBUTED)}",
                    model=name,
                )
        checks = {"launcher": _launcher_error, "port": _port_error}
        for field, check in checks.items():
            error = check(entry.model)
            if error is not None:
                used = "master_port" if field == "port" and "port" not in block else field
                place = entry.place("distributed", used)
                self._collector.add(rules.UNKNOWN_LAUNCHER, place, error.message, hint=error.hint, model=name)


def _read_options(text: str) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    """Error, hint, notes, and what looks like a secret."""
    try:
        parsed = parse_elsewhere(text)
    except PlanError as error:
        return error.message, error.hint, (), ()
    secrets = tuple(f"-e {name}" for name, value in parsed.env.items() if is_secret_value(name, value))
    # GPUs given here are a matter of taste of the run, and the run says so.
    notes = tuple(note for note in merge_notes(_BASE, parsed) if "outside of the lease" not in note)
    return "", "", notes, secrets


def _launcher_error(model: Model) -> ConfigError | None:
    launcher = model.distributed.get("launcher")
    if launcher is None:
        return None
    if not isinstance(launcher, str):
        return ConfigError("distributed: launcher is not a text")
    try:
        canonical_launcher(launcher)
    except ConfigError as error:
        return error
    return None


def _port_error(model: Model) -> ConfigError | None:
    block: Mapping[str, object] = model.distributed
    if "port" not in block and "master_port" not in block:
        return None
    try:
        master_port(block)
    except ConfigError as error:
        return error
    return None
