"""Job scripts for sbatch, one per model (contract 16.2), and a script that submits them all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_madengine.deploy.k8s.names import check_environment, object_name
from pytest_madengine.deploy.presets import slurm_preset
from pytest_madengine.deploy.shelltext import array, assign, quote, template
from pytest_madengine.deploy.slurm.block import SlurmBlock, read_slurm_block
from pytest_madengine.deploy.target import ADDRESS_MARK, RANK_MARK, TargetModel, secret_source
from pytest_madengine.secrets import reveal

SUBMIT: Final = "submit.sh"
README: Final = "README.md"
_ADDRESSES: Final = "@MAD_NODE_ADDRESSES@"
_HOSTFILE: Final = "/madengine/hostfile"
#: What sends a run to a scheduler; inside its job nothing must.
TARGET_KEYS: Final = frozenset({"slurm", "k8s", "kubernetes", "deploy", "target"})
#: What the job puts in place of the marks.
_MARKS: Final = {RANK_MARK: "@MAD_NODE_RANK@", ADDRESS_MARK: "@MAD_MASTER_ADDR@"}
#: Seconds before the time limit at which a run is told to end.
_WARNING: Final = 60


@dataclass(frozen=True)
class SlurmFiles:
    """Name -> text, and what a person has to know."""

    files: Mapping[str, str]
    warnings: tuple[str, ...]


def render_slurm(
    models: Sequence[tuple[TargetModel, Mapping[str, Any]]],
    *,
    root: str,
    environment: str,
    context: Mapping[str, Any],
    variables: Sequence[str] = (),
) -> SlurmFiles:
    """All files of a directory.

    :param models: each model with the manifest of it alone, without secrets.
    :param root: MAD root as the nodes see it.
    :param context: additional context of the command line, without secrets.
    :param variables: variables that must be set where jobs are submitted.
    :raises ConfigError: a value of the block is wrong.
    :raises PlanError: a launcher cannot be used.
    """
    check_environment(environment)
    files: dict[str, str] = {}
    warnings: list[str] = []
    scripts: list[str] = []
    directories: dict[str, None] = {}
    for number, (model, manifest) in enumerate(models, 1):
        block = read_slurm_block(model.block, model.nodes)
        warnings += block.warnings
        stem = f"{number:02d}-{object_name(model.title, 63)}"
        names = (f"{stem}.sbatch", f"{stem}.manifest.json", f"{stem}.context.json")
        files[names[0]] = _job(model, block, root, environment, names[1:])
        files[names[1]] = json.dumps(manifest, indent=2) + "\n"
        files[names[2]] = json.dumps(job_context(model, context), indent=2) + "\n"
        scripts.append(names[0])
        directories[block.output_dir] = None
    files[SUBMIT] = _submit(scripts, list(directories))
    files[README] = _readme(scripts, variables)
    return SlurmFiles(files, tuple(dict.fromkeys(warnings)))


def job_context(model: TargetModel, given: Mapping[str, Any]) -> dict[str, Any]:
    """The additional context of a job: what was given, presets that nobody set, variables of the launcher."""
    context = {key: value for key, value in given.items() if key not in TARGET_KEYS}
    preset = {name: v for name, v in slurm_preset(model.nodes).items() if name not in model.plan.env}
    launcher = {}
    if model.plan.launcher != "slurm_multi":
        launcher = model.launcher_environment("slurm", hostfile=_HOSTFILE, node_ips=(_ADDRESSES,))
    for mark, text in _MARKS.items():
        launcher = {name: value.replace(mark, text) for name, value in launcher.items()}
    context["env_vars"] = {**preset, **context.get("env_vars", {})}
    context["docker_env_vars"] = {**launcher, **context.get("docker_env_vars", {})}
    context["gpus_per_node"] = model.gpus_per_node
    if model.plan.launcher == "deepspeed" and model.nodes > 1:
        mounts = context.get("docker_mounts", {})
        context["docker_mounts"] = {_HOSTFILE: "@MAD_OUT@/hostfile", **mounts}
    return context


def _job(model: TargetModel, block: SlurmBlock, root: str, environment: str, data: tuple[str, ...]) -> str:
    name = object_name(model.plan.model, 63)
    manifest, context = data
    multi = model.plan.launcher == "slurm_multi"
    script = model.plan.script
    head = [
        "#!/bin/bash",
        *(f"#SBATCH --{option}" for option in _directives(model, block, name, environment)),
        "# Made by madengine-cli generate slurm.",
        assign("mad_name", name),
        assign("mad_root", block.shared_workspace or root),
        assign("mad_manifest", manifest),
        assign("mad_context", context),
        assign("mad_output", block.output_dir),
        assign("mad_results", block.results_dir),
        assign("mad_node_count", model.nodes),
        assign("mad_gpus", model.gpus_per_node),
        assign("mad_processes", model.processes_per_node),
        assign("mad_port", model.port),
        assign("mad_vendor", model.vendor),
        assign("mad_launcher", model.plan.launcher),
        assign("mad_interface", block.network_interface),
        array("mad_modules", block.modules),
        assign("mad_checked", int(block.node_check)),
        assign("mad_verbose", int(block.verbose_check)),
        assign("mad_check_may_fail", int(block.check_may_fail)),
        assign("mad_multi", int(multi)),
        assign("mad_image", model.image if multi else ""),
        assign("mad_run_line", script.run_line if multi else ""),
        assign("mad_script_dir", script.script_dir if multi else ""),
        *(_own_environment(model) if multi else (array("mad_env", ()), array("mad_inherited", ()))),
    ]
    return "\n".join(head) + "\n" + template("slurm_job.sh")


def _directives(model: TargetModel, block: SlurmBlock, name: str, environment: str) -> list[str]:
    log = f"{block.output_dir}/{name}_%j_%N"
    lines = [
        f"job-name={name}",
        f"comment=madengine:{environment}",
        f"nodes={model.nodes}",
        f"ntasks={model.nodes}",
        "ntasks-per-node=1",
        f"time={block.time}",
        *(f"{option}={value}" for option, value in block.options.items()),
        f"output={log}.out",
        f"error={log}.err",
        f"signal=TERM@{_WARNING}",
    ]
    if model.gpus_per_node and not block.skip_gpus:
        lines.append(f"gpus-per-node={model.gpus_per_node}")
    if block.exclusive:
        lines.append("exclusive")
    return lines


def _own_environment(model: TargetModel) -> list[str]:
    """Variables of a script that starts its own containers (contract 16.3)."""
    plain: dict[str, str] = {}
    inherited: list[str] = []
    for name, entry in model.plan.env.items():
        source = secret_source(entry.value)
        if not name.isidentifier():
            continue  # bash has no such variable
        if source is None:
            plain[name] = reveal(entry.value)
        else:
            variable = source[len("env:") :] if source.startswith("env:") else name
            inherited.append(f"{name}={variable if variable.isidentifier() else name}")
    split = model.distributed.get("sglang_disagg")
    if isinstance(split, Mapping):
        for variable, key in (("xP", "prefill_nodes"), ("yD", "decode_nodes")):
            if split.get(key) is not None:
                plain[variable] = str(split[key])
    if model.image:
        plain["DOCKER_IMAGE_NAME"] = model.image
    return [
        array("mad_env", (f"{name}={value}" for name, value in plain.items())),
        array("mad_inherited", inherited),
    ]


def _submit(scripts: Sequence[str], directories: Sequence[str]) -> str:
    return "\n".join(
        [
            "#!/bin/bash",
            "# Made by madengine-cli generate slurm: submits all jobs.  Arguments are options for sbatch.",
            "set -euo pipefail",
            'cd "$(dirname "${BASH_SOURCE[0]}")"',
            f"mkdir -p {' '.join(map(quote, directories))} # Slurm does not make the directory of a log",
            f"for script in {' '.join(map(quote, scripts))}; do",
            '  sbatch "$@" "$script"',
            "done",
            "",
        ]
    )


def _readme(scripts: Sequence[str], variables: Sequence[str]) -> str:
    secrets = "The models need no secrets."
    if variables:
        names = "\n".join(f"* `{name}`" for name in variables)
        secrets = (
            "Secrets are in none of these files. Set these variables where you submit; "
            f"Slurm passes them on to the jobs:\n\n{names}"
        )
    jobs = "\n".join(f"* `{name}`" for name in scripts)
    return f"""# Slurm jobs made by madengine-cli

`./{SUBMIT}` submits all jobs; its arguments are options for sbatch. One job: `cd` here, then `sbatch FILE`.

{jobs}

The nodes need `madengine-cli` (or the path of it in `MADENGINE_COMMAND`), a container engine, this
directory, and the MAD repository: its path stands in the scripts, `MODEL_DIR` overrides it.

Each node writes `perf.csv`, `summary.json` and `mad-results/` below
`<output_dir>/<name>/<job id>/node_<i>/`; `results_summary.json` beside them is that of the first node.
`scancel` ends the run and removes its container.

{secrets}
"""
