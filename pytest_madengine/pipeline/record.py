"""From an :class:`ItemRun` to its record, and the journal that survives a dying process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pytest_madengine.results.cleaning import clean_record
from pytest_madengine.results.record import Attempt, Outcome, RunRecord
from pytest_madengine.util.clock import utc_now

if TYPE_CHECKING:
    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.plan.runplan import Lease
    from pytest_madengine.session.session import MadSession

#: Lines of the log tail kept in a record.
TAIL_LINES = 40


def make_record(run: ItemRun) -> RunRecord:
    """The record of an item, whatever happened to it."""
    from pytest_madengine.pipeline.push import build_part

    outcome, reason, phase = run.decided or _from_verdict(run)
    failure, result = run.failure, run.result
    hint = failure.hint if failure else (run.verdict.hint if run.verdict else "")
    tail = result.log_tail if result is not None else (failure.log_tail if failure else ())
    finished = utc_now()
    artifacts = result.artifacts if result is not None else ()
    prefix = run.spec.directory
    record = RunRecord(
        run_id=run.session.run_id,
        item_id=run.spec.name,
        model=run.model_name,
        outcome=outcome,
        reason=reason,
        phase=phase,
        metrics=run.verdict.metrics if run.verdict else (),
        columns=columns(run),
        configs=configs_of(run),
        exit_code=result.exit_code if result is not None else None,
        started=run.started,
        finished=finished,
        durations={name: round(value, 3) for name, value in run.durations.items()},
        image=_image(run),
        host=host(run.session, run.lease),
        lease=_lease(run),
        data=tuple(_data(run)),
        artifacts=tuple(f"{prefix}/{name}" for name in artifacts),
        log_file=f"{prefix}/{result.log_file}" if result is not None and result.log_file else _build_log(run),
        log_tail=tuple(tail[-TAIL_LINES:]),
        hint=hint,
        warnings=tuple(run.warnings),
        attempts=(*run.attempts, _last_attempt(run, outcome, reason, phase), *run.gate.reruns),
        gate=run.gate.said,
        fingerprint=_fingerprint(run),
        has_row=_has_row(run, outcome),
        resumed_from=run.resumed_from,
        resume_key=_resume_key(run),
        lacks_hardware=run.lacks_hardware and outcome is Outcome.SKIPPED,
        build=build_part(run, outcome, reason),
        infrastructure=bool(failure and failure.infrastructure)
        or bool(run.verdict and run.verdict.infrastructure),
    )
    return clean_record(record, run.session.redactor)


def _last_attempt(run: ItemRun, outcome: Outcome, reason: str, phase: str) -> Attempt:
    before = sum(attempt.duration for attempt in run.attempts)
    duration = max(sum(run.durations.values()) - before, 0.0)
    return Attempt(outcome, reason, phase, run.attempt_started or run.started, round(duration, 3))


def _has_row(run: ItemRun, outcome: Outcome) -> bool:
    """The row of a resumed item is in its own session, that of a successful build comes with the run."""
    if run.resumed_from or (run.session.settings.build_only and outcome is Outcome.SUCCESS):
        return False
    return run.verdict.has_row if run.verdict else True


def _from_verdict(run: ItemRun) -> tuple[Outcome, str, str]:
    if run.verdict is not None:
        return run.verdict.outcome, run.verdict.reason, run.verdict.phase
    return Outcome.FAILURE, "ended without a verdict", run.phase


def columns(run: ItemRun) -> Mapping[str, str]:
    """The perf.csv cells of an item that do not depend on a single metric (contract 12.4)."""
    from pytest_madengine.catalog.ids import full_args
    from pytest_madengine.context.kinds import gpu_names
    from pytest_madengine.results.columns import build_columns

    session, model, image, plan = run.session, run.spec.selected.model, run.image, run.plan
    environ = session.settings.environ
    return build_columns(
        n_gpus=_gpu_count(run),
        n_gpus_entry=str(model.raw.get("n_gpus", model.n_gpus)),
        training_precision=model.training_precision,
        pipeline=environ.get("pipeline", ""),
        args=full_args(run.spec.selected),
        tags=model.tags,
        docker_file=_dockerfile(run),
        base_docker=image.base_docker if image else "",
        docker_sha=image.docker_sha if image else "",
        docker_image=image.name if image else _intended_image(run),
        git_commit=run.result.git_commit if run.result is not None else "",
        machine_name=session.host_facts.hostname,
        deployment_type="local",
        launcher=plan.launcher if plan else "",
        gpu_architecture=gpu_names(session.context.facts, run.lease.gpus)[0],
        build_duration=image.build_duration if image else None,
        test_duration=run.result.durations.get("run") if run.result is not None else None,
        data=list(_data(run)),
        build_number=environ.get("BUILD_NUMBER") or "0",
        additional_docker_run_options=(
            plan.docker_run_options_text if plan else model.additional_docker_run_options
        ),
    )


def _dockerfile(run: ItemRun) -> str:
    """Where the image was built from, here or where the manifest was made; empty for a given image."""
    if run.spec.dockerfile is not None:
        return run.spec.dockerfile.relative
    return run.spec.block.dockerfile if run.spec.block is not None else ""


def _lease(run: ItemRun) -> dict[str, Any]:
    """The GPUs of the run, also by what does not change with the order in which a tool counts them."""
    lease = run.lease
    devices = [
        {"index": gpu.index, "identity": gpu.identity, "uuid": gpu.uuid}
        for gpu in run.session.context.facts.gpus
        if gpu.index in lease.gpus
    ]
    named: dict[str, Any] = {"devices": devices} if devices else {}
    return {"gpus": list(lease.gpus), **named, "simulated": lease.simulated, **run.lease_times}


def _gpu_count(run: ItemRun) -> int:
    """GPUs the item held; of one that never came so far, what it asked for."""
    from pytest_madengine.plan.gpus import gpu_need

    if run.lease.gpus or run.plan is not None:
        return len(run.lease.gpus)
    need = gpu_need(run.spec.selected.model, run.session.context)
    return run.session.host_facts.gpu_count if need < 0 else need


def _intended_image(run: ItemRun) -> str:
    """Of an item without an image: the name it was meant to get; empty when that is what is wrong."""
    from pytest_madengine.errors import MadError
    from pytest_madengine.pipeline.image import intended_name

    if run.intended_image is None:  # asked for twice by a record; thousands are made at once
        try:
            run.intended_image = intended_name(run)
        except MadError:
            run.intended_image = ""
    return run.intended_image


def _image(run: ItemRun) -> dict[str, str]:
    image = run.image
    if image is None:
        return {"name": _intended_image(run)}
    return {
        "name": image.name,
        "id": image.id,
        "digest": image.digest,
        "dockerfile": image.dockerfile,
        "base": image.base_docker,
        "base_digest": image.docker_sha,
        "container": run.plan.container_name if run.plan is not None else "",
        "build_started": image.build_started,
        "build_finished": image.build_finished,
    }


def host(session: MadSession, lease: Lease | None = None) -> dict[str, Any]:
    """Host and GPU facts of a record; architecture and product are those of the leased GPUs."""
    from pytest_madengine.context.kinds import gpu_names

    facts = session.host_facts
    architecture, product = gpu_names(session.context.facts, lease.gpus if lease else ())
    return {
        "hostname": facts.hostname,
        "host_os": facts.host_os,
        "gpu_vendor": session.context.gpu_vendor,
        "gpu_count": facts.gpu_count,
        "gpu_architecture": architecture,
        "gpu_product_name": product,
        "runtime_version": facts.runtime_version,
        "driver_version": facts.driver_version,
        "simulated": facts.simulated,
    }


def _data(run: ItemRun) -> Iterator[dict[str, Any]]:
    for mount in run.data:
        yield {
            "name": mount.name,
            "provider": mount.provider,
            "home": mount.home,
            "size": mount.size,
            "duration": mount.duration,
        }


def configs_of(run: ItemRun) -> Any:
    """The configuration file that the arguments of an item name, as JSON types."""
    from pytest_madengine.catalog.ids import full_args
    from pytest_madengine.results.configs import read_configs

    selected = run.spec.selected
    value, warnings = read_configs(full_args(selected), selected.model.scripts, run.session.settings.root)
    run.warnings += [text for text in warnings if text not in run.warnings]
    return value


def _resume_key(run: ItemRun) -> str:
    from pytest_madengine.pipeline.image import known_by_name

    if not known_by_name(run):
        return run.key_in("")
    return run.key_in(run.image.id) if run.image is not None and run.image.id else ""


def _build_log(run: ItemRun) -> str:
    logs = sorted(run.artifacts.glob("*.build.live.log")) if run.artifacts.is_dir() else []
    return f"{run.spec.directory}/{logs[0].name}" if logs else ""


def _fingerprint(run: ItemRun) -> str:
    from pytest_madengine.pipeline.fingerprint import fingerprint_of

    return fingerprint_of(run)
