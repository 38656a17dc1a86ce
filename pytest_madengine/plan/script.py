"""The in-container script of a run (contract 10.3): pure rendering of a :class:`RunScript`.

The fixed parts are the bash files beside this module (``container/``).  Rendering puts a header of quoted
assignments and the list of steps in front of them.  No secret is ever written into a script: the clone
credential travels in the container's environment (:func:`clone_environment`).
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

from pytest_madengine.errors import PlanError
from pytest_madengine.plan.runplan import Clone, DataMount, RunScript, Step
from pytest_madengine.secrets import Secret

#: Where the workspace is mounted (contract 10.1).
WORKSPACE: Final = "/myworkspace"
#: Control directory of a run inside the container.
CONTROL_DIR: Final = "/myworkspace/.madengine"
#: Name of the file, below the control directory, that the container's entry point is.
INIT: Final = "init.sh"
#: Files there, of an executor that hides the nonce and looks at the workspace before the script starts.
NONCE: Final = "nonce"
ASK: Final = "ask"
GO: Final = "go"
#: Where the script leaves the hashes of files that were there before it (lines of ``sha256sum``).
BEFORE: Final = "before"
#: Seconds it may take for them.
LOOK_LIMIT: Final = 20
#: Where the executor puts the ssh key and the known hosts of the clone, relative to the control directory.
SSH_KEY: Final = "ssh/key"
KNOWN_HOSTS: Final = "ssh/known_hosts"
#: Container variables of the clone credential; the script removes them before anything else runs.
CLONE_USERNAME: Final = "MAD_CLONE_USERNAME"
CLONE_PASSWORD: Final = "MAD_CLONE_PASSWORD"
#: Limit of a custom data provider in seconds (contract 13.3).
DATA_LIMIT: Final = 1200
#: First byte of a marker line; see :func:`marker`.
_MARK: Final = "\x01"


def marker(nonce: str) -> str:
    """Text that every marker line of a run starts with; a name and a line feed follow.

    Names are ``prepare``, ``ready``, ``run``, ``collect``, ``handback`` and ``kept STATUS``.
    """
    return f"{_MARK}mad:{nonce}:"


def clone_environment(clone: Clone | None) -> dict[str, str | Secret]:
    """Container variables that carry the clone credential to the script."""
    if clone is None:
        return {}
    values = {CLONE_USERNAME: clone.username, CLONE_PASSWORD: clone.password}
    return {name: value for name, value in values.items() if value}


def render(script: RunScript, *, nonce: str, control_dir: str = CONTROL_DIR) -> dict[str, str]:
    """The files of the control directory: name -> content.

    :param nonce: random text that makes the marker lines of this run unmistakable.
    :param control_dir: where the files lie inside the container; its parent is the workspace.
    :raises PlanError: a text cannot be written into a script (NUL character).
    """
    header = [
        "# Made by pytest-madengine for one run.",
        _assign("control", control_dir),
        _assign("nonce", nonce),
    ]
    init = [*header, _assign("keep", script.keep_alive)]
    phases = [*header, *_phases(script, control_dir)]
    files = {INIT: _join(init, "init.sh"), "phases.sh": _join(phases, "phases.sh")}
    if clone_environment(script.clone):
        files["askpass.sh"] = _template("askpass.sh")
    return files


def guarded(files: Mapping[str, str], nonce: str) -> dict[str, str]:
    """The rendered files for a control directory that the workload can change.

    The shell reads each script whole before anything of it runs, so that changing the file has no effect.
    The nonce is in a file of its own, which is emptied before anything of the model starts.
    """
    assignment = _assign("nonce", nonce)
    reading = f'read -r _mad_nonce <"$_mad_control/{NONCE}"'
    lines = {
        INIT: reading,
        "phases.sh": f'_mad_nonce=; [[ ${{1-}} == finish ]] || {{ {reading}; : >"$_mad_control/{NONCE}"; }}',
    }
    result = dict(files)
    for name, line in lines.items():
        result[name] = "{\n" + files[name].replace(assignment, line, 1) + "\nexit\n}\n"
    return {**result, NONCE: f"{nonce}\n"}


def _phases(script: RunScript, control_dir: str) -> list[str]:
    host = dict(script.host_versions)
    return [
        _assign("model_dir", script.model_dir),
        _assign("script_dir", script.script_dir),
        _assign("run_line", script.run_line),
        _assign("owner", "{}:{}".format(*script.owner)),
        _assign("skip", script.skip_run),
        _assign("probe", script.probe_rocm_path),
        _array("banner", script.banner),
        _array("smi", script.smi_commands),
        _array("watched", script.watched),
        _array("results", [pattern for name in script.watched for pattern in _likes(name)]),
        _assign("look", "/"),
        _assign("look_limit", str(LOOK_LIMIT)),
        *(_assign(f"host_{name}", host.get(name, "")) for name in ("os", "kernel", "rocm", "cuda")),
        *_clone_settings(script.clone, control_dir),
        "_mad_prepare() {",
        *(f"  {line}" for line in _prepare(script)),
        "}",
        "_mad_collect() {",
        *(f"  {_step(step, 'post-script')}" for step in script.post_steps),
        "  return 0",
        "}",
    ]


def _likes(name: str) -> tuple[str, ...]:
    """Patterns of ``find -name`` for files that could be passed off as this results file."""
    file = PurePosixPath(name)

    def exactly(text: str) -> str:
        return re.sub(r"[][*?\\]", r"\\\g<0>", text)

    return (f"{exactly(file.stem)}*", *((f"*{exactly(file.suffix)}",) if file.suffix else ()))


def _prepare(script: RunScript) -> list[str]:
    if script.clone is not None:
        lines = ["_mad_step clone _mad_clone || return"]
    else:
        lines = [
            '[[ -d $_mad_model_dir ]] || _mad_step "model directory" mkdir -p "$_mad_model_dir" || return'
        ]
    lines += [
        _step(step, "pre-script") + ("" if step.may_fail else " || return") for step in script.pre_steps
    ]
    lines.append('_mad_step "copy of the scripts" _mad_copy_scripts || return')
    lines += [_data_step(mount) + " || return" for mount in script.data_steps if mount.script]
    return [*lines, "_mad_open_model_dir", "return 0"]


def _step(step: Step, kind: str) -> str:
    name = PurePosixPath(step.script).name
    runner = "_mad_optional_step" if step.may_fail else "_mad_step"
    # The arguments are bash text; the shell that runs this command is the only one that interprets them.
    command = f"bash {_quote(name)} {step.args}".rstrip(" ")
    label = step_label(step, kind)
    return f"{runner} {_quote(label)} _mad_script {_quote(step.script)} {_quote(command)}"


def step_label(step: Step, kind: str) -> str:
    """How logs and reasons name a step: ``pre-script trace.sh``."""
    name = " ".join((step.name or PurePosixPath(step.script).name).split())
    return name if name.startswith(kind) else f"{kind} {name}"


def _data_step(mount: DataMount) -> str:
    command = f"bash {_quote(f'{WORKSPACE}/{mount.script}')} {mount.args}".rstrip(" ")
    label = f"data {' '.join(mount.name.split())}"
    return f"_mad_step {_quote(label)} _mad_data {_quote(mount.home)} {_quote(command)} {DATA_LIMIT}"


def _clone_settings(clone: Clone | None, control_dir: str) -> list[str]:
    if clone is None:
        return []
    credential = bool(clone_environment(clone))
    attempts = ["credential" if credential else "anonymous"]
    if clone.anonymous_first and credential:
        attempts.insert(0, "anonymous")
    return [
        _assign("url", clone.url),
        _assign("attempts", " ".join(attempts)),
        _assign("clone_host", urlsplit(clone.url).netloc.rpartition("@")[2]),
        f"_mad_askpass={'$_mad_control/askpass.sh' if credential else ''}",
        _assign("ssh", _ssh_command(clone, control_dir)),
    ]


def _ssh_command(clone: Clone, control_dir: str) -> str:
    """Text of ``GIT_SSH_COMMAND``: only the given key, and only hosts that are known."""
    words = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    if clone.ssh_user:
        words += ["-l", clone.ssh_user]
    if clone.ssh_key_file:
        words += ["-i", f"{control_dir}/{SSH_KEY}", "-o", "IdentitiesOnly=yes"]
    if clone.known_hosts:
        words += ["-o", f"UserKnownHostsFile={control_dir}/{KNOWN_HOSTS}"]
    return shlex.join(words)


def _quote(text: str) -> str:
    if "\0" in text:
        raise PlanError(f"a NUL character cannot be passed to the container: {text[:60]!r}")
    return shlex.quote(text)


def _assign(name: str, value: str | bool) -> str:
    text = str(int(value)) if isinstance(value, bool) else _quote(value)
    return f"_mad_{name}={text}"


def _array(name: str, values: Iterable[str]) -> str:
    return f"_mad_{name}=({' '.join(map(_quote, values))})"


def _join(header: list[str], template: str) -> str:
    return "\n".join(header) + "\n" + _template(template)


@functools.cache
def _template(name: str) -> str:
    return (Path(__file__).parent / "container" / name).read_text(encoding="utf-8")
