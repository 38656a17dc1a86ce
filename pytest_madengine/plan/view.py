"""The text of ``--mad-plan``: everything about one run, with the origin of every value."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from pytest_madengine.plan.docker.argv import docker_arguments, mount_argument
from pytest_madengine.plan.runplan import EnvValue, RunPlan
from pytest_madengine.plan.wording import seconds
from pytest_madengine.secrets import MASK, Redactor, Secret
from pytest_madengine.util.text import escaped

_INDENT = "  "
#: Columns a value may take before its origin moves away from the common column.
_WIDEST = 72


def render_plan(plan: RunPlan, redactor: Redactor) -> str:
    """The plan as text, ending with a line feed; secrets appear as ``***``.

    :param redactor: knows the secrets of the session; those of the plan are hidden in any case.
    """
    sections = [
        ("", _identity(plan)),
        ("image", _image(plan)),
        ("resources", _resources(plan)),
        ("container script", _script(plan)),
        ("workspace", _workspace(plan)),
        ("mounts", _mounts(plan)),
        ("environment", _environment(plan)),
        ("docker command", _command(plan)),
        ("notes", [f"- {note}" for note in plan.notes]),
    ]
    lines = []
    for title, body in sections:
        if title and body:
            lines += ["", title]
        lines += [f"{_INDENT if title else ''}{line}".rstrip() for line in body]
    own = Redactor(plan.secrets)
    return redactor.text(own.text("\n".join(lines))) + "\n"


def _identity(plan: RunPlan) -> list[str]:
    parameters = " ".join(map(str, plan.parameters))
    return [
        f"plan of {plan.item_id}",
        *_table(
            [
                ("model", plan.model),
                ("parameters", parameters),
                ("args", plan.args.strip()),
                ("container", plan.container_name),
                ("log", f"{plan.log_name}.run.live.log"),
                ("launcher", plan.launcher),
                ("results", plan.multiple_results),
            ],
            indent=_INDENT,
        ),
    ]


def _image(plan: RunPlan) -> list[str]:
    image = plan.image
    return _table(
        [
            ("name", image.name),
            ("id", image.id),
            ("digest", image.digest),
            ("Dockerfile", image.dockerfile),
            ("base image", image.base_docker),
        ]
    )


def _resources(plan: RunPlan) -> list[str]:
    lease, limits, options = plan.lease, plan.timeouts, plan.options
    gpus = ",".join(map(str, lease.gpus)) or "none"
    phases = ("pull", "build", "prepare", "run", "collect")
    times = [f"{phase} {_limit(getattr(limits, phase))}" for phase in phases]
    return _table(
        [
            ("GPUs", gpus + (" (simulated)" if lease.simulated else "")),
            ("CPUs", options.cpuset_cpus),
            ("shared memory", "of the host" if options.ipc == "host" else _size(options.shm_size)),
            ("limits", ", ".join(times)),
        ]
    )


def _limit(value: float | None) -> str:
    return "none" if value is None else f"{seconds(value)} s"


def _size(value: int | None) -> str:
    if value is None:
        return "default"
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= factor and value % factor == 0:
            return f"{value // factor} {unit}"
    return f"{value} bytes"


def _script(plan: RunPlan) -> list[str]:
    script = plan.script
    steps = []
    if script.clone is not None:
        how = "with a credential" if script.clone.password or script.clone.ssh_key_file else "anonymously"
        how = "anonymously, then with a credential" if script.clone.anonymous_first else how
        steps.append(f"clone {script.clone.url} {how}")
    steps += [f"pre-script {_call(step.script, step.args)}" for step in script.pre_steps]
    steps.append(f"copy {script.script_dir}/ to {script.model_dir}")
    steps += [f"data {mount.name}: {_call(mount.script, mount.args)}" for mount in script.data_steps]
    steps.append(
        "model script is left out (--skip-model-run)" if script.skip_run else f"run {script.run_line}"
    )
    steps += [f"post-script {_call(step.script, step.args)}" for step in script.post_steps]
    lines = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return [*lines, *(["the container is kept afterwards"] if script.keep_alive else [])]


def _call(script: str, args: str) -> str:
    return f"{script} {args}".rstrip()


def _workspace(plan: RunPlan) -> list[str]:
    workspace = plan.workspace
    return _table(
        [
            ("MAD root", workspace.root),
            ("visible, read-only", " ".join(workspace.entries)),
            ("hidden", " ".join(workspace.hidden)),
            ("collected", " ".join(workspace.collect)),
            ("model directory", plan.script.model_dir + (" (kept)" if workspace.keep_model_dir else "")),
        ]
    )


def _mounts(plan: RunPlan) -> list[str]:
    return _with_origins((mount_argument(mount).partition("=")[2], mount.origin) for mount in plan.mounts)


def _environment(plan: RunPlan) -> list[str]:
    return _with_origins((f"{name}={_shown(entry)}", entry.origin) for name, entry in plan.env.items())


def _one_line(text: str) -> str:
    """Control characters escaped, so that a value cannot forge lines of the view."""
    return escaped(text)


def _command(plan: RunPlan) -> list[str]:
    words = docker_arguments(plan)
    lines, image = [" ".join(words[:2])], words.index("--rm")
    command = len(words) - 4
    lines += [_INDENT + _one_line(shlex.quote(word)) for word in words[image:command]]
    lines.append(_INDENT + " ".join(_one_line(shlex.quote(word)) for word in words[command:]))
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def _table(rows: Sequence[tuple[str, str]], indent: str = "") -> list[str]:
    """Names and values in two columns; rows without a value are left out."""
    shown = [(name, value) for name, value in rows if value]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"{indent}{name:<{width}}  {_one_line(value)}" for name, value in shown]


def _shown(entry: EnvValue) -> str:
    # Of a credential only the names are ever printed, whether the field is secret or not (contract 14.1).
    hidden = isinstance(entry.value, Secret) or entry.origin.startswith("credential:")
    return MASK if hidden else _one_line(str(entry.value))


def _with_origins(rows: Iterable[tuple[str, str]]) -> list[str]:
    entries = list(rows)
    width = min(max((len(text) for text, _ in entries), default=0), _WIDEST)
    return [f"{text:<{width}}  [{origin}]" if origin else text for text, origin in entries]
