"""From everything known about an item to its :class:`RunPlan`: one pure function."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pytest_madengine.catalog.ids import full_args
from pytest_madengine.context.host import in_job
from pytest_madengine.errors import PlanError
from pytest_madengine.plan.clone import build_clone, model_directory
from pytest_madengine.plan.docker.flags import (
    ParsedFlags,
    merge_notes,
    merge_options,
    parse_elsewhere,
    parse_run_options,
)
from pytest_madengine.plan.docker.options import base_options, may_mount, shm_size_text, unprivileged
from pytest_madengine.plan.env import EnvironmentBuilder
from pytest_madengine.plan.expansion import Expander
from pytest_madengine.plan.launchers import launcher_of, multi_node
from pytest_madengine.plan.names import container_name, log_name
from pytest_madengine.plan.request import HostAbilities, PlanRequest
from pytest_madengine.plan.runplan import DockerOptions, EnvValue, Mount, RunPlan, RunScript
from pytest_madengine.plan.steps import SMI_COMMANDS, WORKSPACE, post_steps, pre_steps, run_line, script_of
from pytest_madengine.plan.timeouts import phase_timeouts
from pytest_madengine.plan.tools import SelectedTools, select_tools
from pytest_madengine.plan.wording import seconds
from pytest_madengine.plan.workspace import build_workspace, concealed_files
from pytest_madengine.secrets import Secret, is_secret
from pytest_madengine.settings import PhaseTimeouts

__all__ = ["HostAbilities", "PlanRequest", "build_plan"]

#: Note of a plan whose model asked for SYS_ADMIN or --privileged.
_MAY_MOUNT: Final = "additional_docker_run_options let the script mount: it could change the repository"


def build_plan(request: PlanRequest) -> RunPlan:
    """The complete plan of one run; the same request always gives the same plan.

    :raises ConfigError: a value of context, tools or launcher is wrong.
    :raises PlanError: an unknown docker flag, a missing mount source, an unusable URL or script path.
    :raises CredentialError: a credential that the model needs is missing.
    """
    model, context, settings = request.model, request.context, request.settings
    gpus = len(request.lease.gpus)
    launcher = launcher_of(model, context, request.environ)
    given_nodes = context.get("multi_node_args")
    nodes = multi_node(given_nodes, gpus) if isinstance(given_nodes, Mapping) else None
    tools = select_tools(
        request.tools,
        context.get("tools"),
        nodes=nodes.nodes if nodes is not None else _job_nodes(request.environ),
        rocprofv3_available=request.host.rocprofv3,
    )
    expander = Expander(request.environ, request.expand)
    where = f"{request.where}: additional_docker_run_options"
    given = model.additional_docker_run_options
    if request.expand:
        parsed = parse_run_options(given, lambda word: expander.text(word, where))
    else:
        parsed = parse_elsewhere(given)
    options, option_notes = _options(request, parsed)
    env, probe, env_notes = EnvironmentBuilder(request).build(tools, launcher, nodes)
    mounts = _mounts(request, parsed)
    timeouts = phase_timeouts(settings, model, context)
    directory = model_directory(model)
    # A simulated GPU has no tools to ask.
    shown_vendor = "" if request.lease.simulated else request.vendor
    return RunPlan(
        run_id=request.run_id,
        item_id=request.item_id,
        model=model.name,
        parameters=request.selected.parameters,
        image=request.image,
        container_name=container_name(request.image.name, request.container_suffix),
        log_name=log_name(model.name, request.base, request.selected.params_id),
        script=_script(request, tools, timeouts, directory, probe, shown_vendor),
        workspace=build_workspace(request, tools, directory, mounts),
        env=_with_flag_variables(env, parsed, request, expander.secrets),
        mounts=mounts,
        options=options,
        timeouts=timeouts,
        labels=dict(request.labels),
        lease=request.lease,
        args=full_args(request.selected),
        multiple_results=model.multiple_results,
        docker_run_options_text=_options_text(request),
        launcher=launcher,
        notes=tuple(dict.fromkeys((*tools.notes, *option_notes, *env_notes))),
        **_log_scan(request),
    )


def _job_nodes(environ: Mapping[str, str]) -> int:
    text = environ.get("NNODES", "1") if in_job(environ) else "1"
    return int(text) if text.isdecimal() else 1


def _script(
    request: PlanRequest,
    tools: SelectedTools,
    timeouts: PhaseTimeouts,
    directory: str,
    probe: bool,
    vendor: str,
) -> RunScript:
    settings = request.settings
    known_hosts = str(settings.known_hosts) if settings.known_hosts is not None else ""
    return RunScript(
        model_dir=f"{WORKSPACE}/{directory}",
        script_dir=script_of(request)[0],
        run_line=run_line(request, tools),
        smi_commands=SMI_COMMANDS.get(vendor, ()),
        clone=build_clone(
            request.model,
            request.credentials,
            root=str(settings.root),
            environ=request.environ,
            known_hosts=known_hosts,
        ),
        pre_steps=pre_steps(request, tools),
        post_steps=post_steps(request, tools),
        data_steps=tuple(mount for mount in request.data if mount.script),
        probe_rocm_path=probe,
        owner=request.owner,
        skip_run=settings.skip_model_run,
        keep_alive=settings.keep_alive,
        banner=(f"Setting timeout to {seconds(timeouts.run)} seconds.",),
    )


def _options(request: PlanRequest, parsed: ParsedFlags) -> tuple[DockerOptions, tuple[str, ...]]:
    base, notes = base_options(request)
    options = merge_options(base, parsed)
    dropped: tuple[str, ...] = ()
    if request.settings.unprivileged:
        options, dropped = unprivileged(options)
    if may_mount(options):
        dropped = (*dropped, _MAY_MOUNT)
    return options, (*notes, *merge_notes(base, parsed), *dropped)


def _options_text(request: PlanRequest) -> str:
    size = shm_size_text(request.context)
    return request.model.additional_docker_run_options + (f" --shm-size={size}" if size else "")


def _with_flag_variables(
    env: Mapping[str, EnvValue], parsed: ParsedFlags, request: PlanRequest, secrets: Collection[str]
) -> dict[str, EnvValue]:
    """``-e`` of ``additional_docker_run_options`` comes last on the docker command line, so it wins."""
    result = dict(env)
    for name, given in parsed.env.items():
        value = request.environ.get(name) if given is None else given
        if value is None:
            continue  # as docker does: a variable that the host does not have is not set
        result.pop(name, None)
        secret = is_secret(name, value) or any(one in value for one in secrets)
        origin = f"env:{name}" if given is None else "model"
        result[name] = EnvValue(Secret(value) if secret else value, origin)
    return result


def _mounts(request: PlanRequest, parsed: ParsedFlags) -> tuple[Mount, ...]:
    mounts = [
        Mount(data.source, data.home, data.read_only, f"data:{data.name}")
        for data in request.data
        if data.source
    ]
    given = request.context.get("docker_mounts")
    for target, source in (given if isinstance(given, Mapping) else {}).items():
        mounts.append(_context_mount(request, str(target), str(source)))
    for mount in parsed.mounts:
        source = mount.source
        if source.startswith("."):
            source = posixpath.normpath(posixpath.join(str(request.settings.root), source))
        mounts.append(replace(mount, source=source))
    root = str(request.settings.root)
    for name in concealed_files(request):
        # Deeper files come with their top-level entry; an empty file takes their place.
        if "/" in name and request.path_exists(f"{root}/{name}"):
            mounts.append(Mount("/dev/null", f"{WORKSPACE}/{name}", True, "plan"))
    return _distinct(mounts, request.where)


def _context_mount(request: PlanRequest, target: str, source: str) -> Mount:
    where = f"context: docker_mounts: {target!r} -> {source!r}"
    if not target.startswith("/"):
        raise PlanError(f"{where}: the container path is not absolute")
    if not source:
        raise PlanError(f"{where}: the host path is empty")
    path = posixpath.normpath(posixpath.join(str(request.settings.root), source))
    if not request.path_exists(path):
        raise PlanError(f"{where}: the host path {path} does not exist")
    return Mount(path, target, False, request.context.origin(f"docker_mounts.{target}"))


def _distinct(mounts: Sequence[Mount], where: str) -> tuple[Mount, ...]:
    """Each target once: docker refuses a second mount of the same place."""
    found: dict[str, Mount] = {}
    for mount in mounts:
        target = posixpath.normpath(mount.target)
        if target in {"/", WORKSPACE, f"{WORKSPACE}/.madengine"}:
            raise PlanError(f"{where}: nothing can be mounted at {target} ({mount.source!r})")
        before = found.get(target)
        if before is not None and before.source != mount.source:
            raise PlanError(f"{where}: both {before.source!r} and {mount.source!r} are mounted at {target}")
        found[target] = replace(mount, target=target)
    return tuple(found.values())


def _log_scan(request: PlanRequest) -> dict[str, Any]:
    """Error pattern settings: the context replaces the model's, benign patterns add up."""
    model, context = request.model, request.context
    scan = context.get("log_error_pattern_scan", model.log_error_pattern_scan)
    patterns = context.get("log_error_patterns", model.log_error_patterns)
    benign = (*model.log_error_benign_patterns, *context.get("log_error_benign_patterns", ()))
    return {
        "log_error_pattern_scan": scan is not False,
        "log_error_patterns": None if patterns is None else tuple(patterns),
        "log_error_benign_patterns": benign,
    }
