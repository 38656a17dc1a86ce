"""What happens in the container around the run line, and the run line itself (contract 10.3)."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import replace
from typing import Final

from pytest_madengine.catalog.ids import full_args
from pytest_madengine.errors import ConfigError, PlanError
from pytest_madengine.plan.names import flat_name
from pytest_madengine.plan.request import PlanRequest
from pytest_madengine.plan.runplan import Step
from pytest_madengine.plan.tools import HookScript, SelectedTools, hook_scripts
from pytest_madengine.plan.wording import join_words
from pytest_madengine.util.jsontext import boolean_of

WORKSPACE: Final = "/myworkspace"
COLLECTOR: Final = "scripts/common/pre_scripts/run_rocenv_tool.sh"
_BASH_SUFFIXES: Final = (".sh", ".slurm", ".sbatch")
#: Tried in this order; absence is harmless.
SMI_COMMANDS: Final = {
    "AMD": ("amd-smi", "rocm-smi"),
    "NVIDIA": ("nvidia-smi",),
    "INTEL": ("xpu-smi",),
}


def script_of(request: PlanRequest) -> tuple[str, str, str]:
    """Directory relative to the workspace, file name and interpreter of the model's script.

    :raises PlanError: the script does not lie in a directory below the MAD root.
    """
    path = posixpath.normpath(request.model.scripts or ".")
    interpreter = "python3" if path.endswith(".py") else "bash"
    known = path.endswith((*_BASH_SUFFIXES, ".py"))
    if not known and request.path_exists(posixpath.join(str(request.settings.root), path, ".")):
        directory, name = path, "run.sh"
    else:
        directory, name = posixpath.split(path)
    if directory in {"", "."} or path.startswith(("/", "../")) or path == "..":
        raise PlanError(
            f"{request.where}: scripts {request.model.scripts!r} is no file of a directory below the root",
            hint="its whole directory is copied into the model directory, so it needs one of its own",
        )
    return directory, name, interpreter


def run_line(request: PlanRequest, tools: SelectedTools) -> str:
    """``<tools> <encapsulate> <interpreter> <script> <args>``, for bash in the container.

    ``model_args`` of the context replaces the ``args`` of the entry here; parameters stay.
    """
    _, name, interpreter = script_of(request)
    selected = request.selected
    given = request.context.get("model_args")
    if given is not None:
        selected = replace(selected, model=replace(selected.model, args=str(given)))
    # A name that starts with a dash would be an option of the interpreter.
    script = shlex.quote(f"./{name}" if name.startswith("-") else name)
    wrapped = tools.command(str(request.context.get("encapsulate_script") or ""))
    return join_words(wrapped, interpreter, script, full_args(selected))


def pre_steps(request: PlanRequest, tools: SelectedTools) -> tuple[Step, ...]:
    """Tool pre-scripts (last tool first), ``pre_scripts`` of the context, environment collector."""
    scripts = (*tools.pre_scripts, *_context_scripts(request, "pre_scripts"))
    steps = [_step(script) for script in scripts]
    if _collects_environment(request):
        mode = "full" if request.context.get("rocenv_mode") == "full" else "lite"
        name = shlex.quote(f"{flat_name(request.model.name)}_env")
        guest = shlex.quote(guest_os(request))
        steps.append(Step("environment collector", COLLECTOR, f"{name} {mode} {guest}", may_fail=True))
    return tuple(steps)


def post_steps(request: PlanRequest, tools: SelectedTools) -> tuple[Step, ...]:
    """``post_scripts`` of the context, then tool post-scripts in tool order."""
    scripts = (*_context_scripts(request, "post_scripts"), *tools.post_scripts)
    return tuple(_step(script) for script in scripts)


def guest_os(request: PlanRequest) -> str:
    """``guest_os`` of the context, else of the Dockerfile's CONTEXT, else ``UBUNTU``."""
    given = request.context.get("guest_os") or request.image.context.get("guest_os") or "UBUNTU"
    return str(given).upper()


def _context_scripts(request: PlanRequest, key: str) -> tuple[HookScript, ...]:
    return hook_scripts(request.context.get(key), f"context: {key}")


def _step(script: HookScript) -> Step:
    path = posixpath.normpath(script.path)
    if path.startswith(f"{WORKSPACE}/"):
        path = path[len(WORKSPACE) + 1 :]
    if path.startswith(("/", "../")) or path in {".", ".."}:
        raise ConfigError(f"script {script.path!r} lies outside of the MAD root")
    return Step(posixpath.basename(path), path, script.args)


def _collects_environment(request: PlanRequest) -> bool:
    for key in ("gen_sys_env_details", "generate_sys_env_details"):
        value = request.context.get(key)
        if isinstance(value, str):
            value = boolean_of(value)
        if isinstance(value, bool):
            return value
    return request.settings.sys_env_details
