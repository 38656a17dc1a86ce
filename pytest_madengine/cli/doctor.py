"""``doctor``: what this host offers to runs, what is missing, and what to do about it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from pytest_madengine.cli.common import ExitCode, reports_errors, say


def register(app: typer.Typer, panel: str) -> None:
    """Adds the command."""
    app.command("doctor", rich_help_panel=panel)(doctor)


@reports_errors
def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, for reports and programs.")
    ] = False,
    results_dir: Annotated[
        str, typer.Option("--results-dir", metavar="DIR", help="Results directory that runs would use.")
    ] = "mad-results",
) -> int:
    """Check whether runs would work on this host, and say what is missing.

    It shows versions, GPUs in every order in which something counts them, leases, engine, builder, registries
    (names only) and the results directory. It needs no MAD repository and no engine, and changes nothing. Its
    exit status is 0 when runs would work and 1 when something is missing without which they cannot.

    Examples:

      madengine doctor

      madengine doctor --json
    """
    from pytest_madengine.cli.diagnosis import diagnose
    from pytest_madengine.context.detect import detect_host
    from pytest_madengine.context.probe import Probe

    environ = dict(os.environ)
    facts = detect_host(Probe.real(environ), None)
    found = diagnose(environ, Path(results_dir).expanduser().absolute(), facts)
    if as_json:
        value = {**found.facts, "problems": found.problems, "healthy": found.healthy}
        say(json.dumps(value, ensure_ascii=True))
    else:
        for line in lines_of(found.facts, found.problems):
            say(line)
    return ExitCode.SUCCESS if found.healthy else ExitCode.FAILURE


def lines_of(facts: dict[str, Any], problems: list[dict[str, str]]) -> list[str]:
    """The report for people."""
    gpus = facts["gpus"]
    lines = [f"{name}: {_plain(facts[name])}" for name in ("versions", "host")]
    general = {key: gpus[key] for key in ("vendor", "runtime", "driver", "rocm_path", "variables")}
    lines.append(f"gpus: {len(gpus['devices'])}, {_plain(general)}")
    for gpu in gpus["devices"]:
        state = "visible" if gpu["visible"] else "hidden by the environment"
        default = "" if gpu["used_by_default"] else ", not used by default"
        lines.append(
            f"  GPU {gpu['index']}: {gpu['product'] or '-'} {gpu['architecture']} {gpu['identity']} "
            f"uuid {gpu['uuid'] or '-'} node {gpu['node'] or '-'} {gpu['node_access']} "
            f"(runtime counts {gpu['runtime_index']}, PCI {gpu['bus_index']}; {state}{default})"
        )
    lines.append(f"leases: {facts['leases']['directory']}, {len(facts['leases']['held'])} held")
    lines += [f"  {_plain(held)}" for held in facts["leases"]["held"]]
    lines += [f"{name}: {_plain(facts[name])}" for name in ("engine", "builder")]
    lines.append(f"registries with credentials: {', '.join(facts['registries']) or 'none'}")
    lines.append(f"results: {_plain(facts['results'])}")
    for problem in problems:
        lines.append(f"{problem['level'].upper()}: {problem['what']}")
        lines.append(f"  do: {problem['do']}")
    broken = any(problem["level"] == "error" for problem in problems)
    return [*lines, "runs would fail: see the errors above" if broken else "runs would work"]


def _plain(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items() if value not in ("", {}, []))
