"""The scripts a pod runs: those of the plan, and what surrounds them where no executor does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from pytest_madengine.deploy.shelltext import array, assign, container_script, template
from pytest_madengine.deploy.target import TargetModel
from pytest_madengine.plan.script import NONCE, WORKSPACE, guarded, render

SOURCE: Final = "/madengine/config"
RESULTS: Final = "/madengine/results"
SECRET_FILES: Final = "/madengine/secret-files"
START: Final = "start.sh"


#: Scripts of the plan in two parts: what is of one job, and what all jobs share (``<name>.head``, ``.body``).
_PARTED: Final = ("init", "phases")
_NO_NONCE: Final = "none"


@dataclass(frozen=True)
class PodScripts:
    """The control directory of a job: file name -> text."""

    own: Mapping[str, str]
    #: The same for every job, so that a ConfigMap holds them once.
    shared: Mapping[str, str]


def pod_scripts(model: TargetModel, job: str, hosts: tuple[str, ...] = ()) -> PodScripts:
    """The scripts of a job; ``start.sh`` is what its pods run.

    The same plan gives the same text, so that a file that is generated again shows only real changes.

    :param hosts: host names of all pods in the order of their ranks.
    :raises PlanError: a text cannot be written into a script.
    """
    plan = model.plan
    watched = (plan.multiple_results,) if plan.multiple_results else ()
    script = replace(plan.script, watched=watched, owner=(0, 0), keep_alive=False)
    rendered = guarded(render(script, nonce=_NO_NONCE), _NO_NONCE)
    # The pod makes a nonce of its own: a ConfigMap is no secret to the model.
    own = {name: text for name, text in rendered.items() if name != NONCE}
    shared = {"pod.sh": template("pod.sh")}
    for name in _PARTED:
        head, body, _ = own.pop(f"{name}.sh").partition(container_script(f"{name}.sh"))
        # What surrounds both, so that the shell reads the script whole, is added by the pod again.
        own[f"{name}.head"], shared[f"{name}.body"] = head.removeprefix("{\n"), body
    own["phases.head"] += "_mad_look_inside=1\n"
    own[START] = "\n".join([*_header(model, job, hosts), f'. "{SOURCE}/control/pod.sh"', ""])
    return PodScripts(own, shared)


def _header(model: TargetModel, job: str, hosts: tuple[str, ...]) -> list[str]:
    plan, limits = model.plan, model.plan.timeouts
    slots = [f"{host} slots={model.processes_per_node}" for host in hosts]
    return [
        "# Made by pytest-madengine for one job.",
        assign("_pod_job", job),
        assign("_pod_log_name", plan.log_name),
        assign("_pod_source", SOURCE),
        assign("_pod_workspace", WORKSPACE),
        assign("_pod_results", RESULTS),
        assign("_pod_secret_files", SECRET_FILES),
        assign("_pod_model_dir", plan.script.model_dir),
        assign("_pod_multiple_results", plan.multiple_results),
        array("_pod_patterns", plan.workspace.collect),
        array("_pod_hostfile", slots),
        *(
            assign(f"_pod_limit_{name}", int(getattr(limits, name) or 0))
            for name in ("prepare", "run", "collect")
        ),
    ]
