"""``build --build-on-compute``: the same build in a Slurm job (contract 16.2).

The job runs ``build`` with the same options on a shared file system, and pushes; this process waits, takes
the manifest over and marks its images as built there.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_madengine.cli import params
from pytest_madengine.cli.common import ExitCode, print_error, say, warn
from pytest_madengine.errors import ConfigError
from pytest_madengine.options import DEFAULT_MANIFEST
from pytest_madengine.util import jsontext
from pytest_madengine.util.ends import held
from pytest_madengine.util.text import log_line

if TYPE_CHECKING:
    from pytest_madengine.deploy.slurm.block import SlurmBlock
    from pytest_madengine.executors.slurm.job import SlurmJob

#: Options that this process handles itself.
_OURS: Final = frozenset({"build-on-compute", "manifest-out", "context", "queue-timeout"})
_JOB_NAME: Final = "madengine-build"


def build_on_compute(values: dict[str, Any], words: Sequence[str]) -> int:
    """Submits the build, waits for it, and writes its manifest; returns the exit status of the command.

    :raises ConfigError: options exclude each other, or the context has no usable ``slurm`` block.
    """
    block, limit = _checked(values), _queue_limit(values)
    for text in block.warnings:
        warn(text)
    from pytest_madengine.executors.slurm.job import SlurmError, submit, wait
    from pytest_madengine.session.session import new_run_id

    target = Path(values.get("manifest_out") or DEFAULT_MANIFEST).expanduser().absolute()
    output = Path(block.output_dir).absolute()
    place = output / f"{_JOB_NAME}-{new_run_id()}"
    place.mkdir(parents=True, exist_ok=True)
    manifest, result = place / target.name, place / "exit_status"
    script = place / "job.sh"
    script.write_text(_script(_inner_words(values, manifest, words), result, block.modules), encoding="utf-8")
    environ = dict(os.environ)
    if values.get("context"):
        # It may hold secrets: not in the script, but where the job finds the twin of the option.
        environ["MAD_PYTEST_CONTEXT"] = values["context"]
    files = f"{str(place).replace('%', '%%')}/job-%j"  # %j is the id of the job
    options = [
        # A build is one task on one node; how many nodes and GPUs a run wants says nothing about it.
        *("--nodes=1", "--ntasks=1", f"--time={block.time}"),
        *(f"--{name}={value}" for name, value in block.options.items()),
        *(f"--job-name={_JOB_NAME}", f"--output={files}.out", f"--error={files}.err"),
    ]
    try:
        job = submit(script, options, result, environ, Path.cwd())
        say(f"submitted Slurm job {job.id}; its output is in {place}")
        status = wait(
            job, environ, queue_limit=limit, on_state=lambda state: say(f"Slurm job {job.id}: {state}")
        )
    except SlurmError as error:
        print_error(error)
        _record_failures(values, error.message)
        return ExitCode.RUN_FAILURE
    except KeyboardInterrupt:
        # The job is cancelled by now; however often somebody asks, the rows come first.
        with held(patience=3):
            _record_failures(values, "interrupted: the Slurm job was cancelled")
        raise
    _show(place, job)
    if manifest.is_file():
        _take_over(manifest, target)
        say(f"manifest: {target}")
    return status


def _checked(values: Mapping[str, Any]) -> SlurmBlock:
    if not values.get("registry"):
        raise ConfigError(
            "--build-on-compute needs --registry: the images stay on a compute node otherwise",
            hint="give --registry R",
        )
    if values.get("use_image"):
        raise ConfigError("--build-on-compute and --use-image exclude each other")
    if not values.get("tags") and not values.get("batch_manifest"):
        raise ConfigError("no models are selected", hint="give --tags NAME or TAG, or --batch-manifest FILE")
    from pytest_madengine.context.build import STRING
    from pytest_madengine.context.literal import parse_file, parse_string
    from pytest_madengine.deploy.slurm.block import read_slurm_block

    block: dict[str, Any] = {}
    for context in (
        parse_file(Path(values["context_file"]).expanduser(), values["context_file"])
        if values.get("context_file")
        else {},
        parse_string(values["context"], STRING) if values.get("context") else {},
    ):
        part = context.get("slurm", {})
        if not isinstance(part, Mapping):
            raise ConfigError("additional context: slurm must be an object")
        block |= part
    if not block:
        raise ConfigError(
            "--build-on-compute needs a slurm block in the additional context",
            hint="e.g. --additional-context \"{'slurm': {'partition': 'build', 'time': '02:00:00'}}\"",
        )
    return read_slurm_block(block, nodes=1)


def _queue_limit(values: Mapping[str, Any]) -> float | None:
    param = next(param for param in params.of_command("build") if param.name == "queue-timeout")
    limit: float | None = params.checked_value(param, values.get(param.dest))
    return limit


def _inner_words(values: Mapping[str, Any], manifest: Path, words: Sequence[str]) -> list[str]:
    """The command of the job: the same options, the manifest into the directory of the job."""
    argv = [sys.executable, "-m", "pytest_madengine", "build", f"--manifest-output={manifest}"]
    for param in params.of_command("build"):
        value = values.get(param.dest)
        if param.name in _OURS or value is None or value is False:
            continue
        name = param.spellings[0]
        if param.kind == "pair":
            argv.append(name.partition("/")[0])
        elif param.kind == "flag":
            argv.append(name)
        else:
            argv += [f"{name}={one}" for one in (value if isinstance(value, list) else [value])]
    if values.get("sys_env_details") is False:
        argv.append("--no-sys-env-details")
    return [*argv, *(["--", *words] if words else [])]


def _script(argv: Sequence[str], result: Path, modules: Sequence[str]) -> str:
    lines = [
        "#!/bin/bash",
        *(f"module load {shlex.quote(name)}" for name in modules),
        "export MAD_DEPLOYMENT_TYPE=slurm MAD_IN_SLURM_JOB=1",
        # scancel signals the steps only; the build ends its own docker when it hears of it.
        "trap 'kill -TERM \"$build\"' TERM INT",
        f"{shlex.join(argv)} &",
        "build=$!",
        'wait "$build"; status=$?',
        'while kill -0 "$build" 2>/dev/null; do wait "$build"; status=$?; done',
        f"printf '%s\\n' \"$status\" > {shlex.quote(str(result))}.part",
        f"mv {shlex.quote(str(result))}.part {shlex.quote(str(result))}",
        'exit "$status"',
    ]
    return "\n".join(lines) + "\n"


def _take_over(source: Path, target: Path) -> None:
    """The manifest of the job: keyed by model where that is one image, and marked (contract 9.2)."""
    from pytest_madengine.util.files import write_atomic

    content = jsontext.read(source)
    images, models = content["built_images"], content["built_models"]
    named = [str(block.get("model") or key) for key, block in images.items()]
    keys = {
        old: name if named.count(name) == 1 and name not in images else old
        for old, name in zip(images, named, strict=True)
    }
    content["built_images"] = {
        keys[old]: {**block, "built_on_compute": True} for old, block in images.items()
    }
    content["built_models"] = {keys.get(old, old): entry for old, entry in models.items()}
    write_atomic(target, json.dumps(content, indent=2) + "\n")


def _show(place: Path, job: SlurmJob) -> None:
    from pytest_madengine.sinks.ci import commands_off

    with commands_off(os.environ, say):
        for suffix in ("out", "err"):
            path = place / f"job-{job.id}.{suffix}"
            if path.is_file():
                for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
                    say(log_line(line))
    sys.stdout.flush()


def _record_failures(values: Mapping[str, Any], reason: str) -> None:
    """A FAILURE row for every model that the job should have built (contract 16.1)."""
    from pytest_madengine.catalog.ids import item_name
    from pytest_madengine.catalog.root import choose_root
    from pytest_madengine.catalog.service import select_models
    from pytest_madengine.perfcsv.table import PerfCsv
    from pytest_madengine.results.record import Outcome, RunRecord
    from pytest_madengine.session.session import new_run_id
    from pytest_madengine.util.clock import utc_now

    if not values.get("tags"):
        return
    root = choose_root(Path(values["root"]) if values.get("root") else None, os.environ, here=Path.cwd())
    chosen = select_models(root, values["tags"], environ=os.environ)
    table = PerfCsv(Path(values.get("output") or "perf.csv").expanduser().absolute())
    run_id, now = new_run_id(), utc_now()
    for item in chosen.items:
        columns = {"deployment_type": "slurm", "tags": ",".join(item.model.tags)}
        table.append(
            RunRecord(
                *(run_id, item_name(item), item.model.name, Outcome.FAILURE, reason, "build"),
                columns=columns,
                started=now,
                finished=now,
            )
        )
