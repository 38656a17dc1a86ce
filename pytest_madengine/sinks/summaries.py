"""What a session writes once at its end for other programs: build manifest, build and run summary."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_madengine.results.record import Outcome, RunRecord
from pytest_madengine.util.files import write_atomic

if TYPE_CHECKING:
    from pytest_madengine.session.session import MadSession


class Summaries:
    """The sink of whole-session files, in the controlling process; also of a session that was cut short."""

    def __init__(self, session: MadSession) -> None:
        self.session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_mad_finish(self, records: Sequence[RunRecord]) -> None:
        """Writes the files that were asked for.

        :raises OSError: one of them cannot be written.
        """
        settings = self.session.settings
        ordered = self._ordered(records)
        if self.session.manifest is None and settings.manifest_out is not None:
            self._write_manifest(ordered)
        if settings.summary_output is not None:
            _write_json(settings.summary_output, self._phases(ordered))
        build, run = settings.build_summary, settings.run_summary
        if build is not None and build == run:
            _write_json(build, both_phases(ordered))
            return
        if build is not None:
            _write_json(build, build_phase(ordered))
        if run is not None:
            _write_json(run, run_phase(ordered))

    def _phases(self, records: Sequence[RunRecord]) -> dict[str, Any]:
        """What this session does: build, run what a manifest names, or both (contract 19.2)."""
        if self.session.settings.build_only:
            return build_phase(records)
        return run_phase(records) if self.session.manifest is not None else both_phases(records)

    def _ordered(self, records: Sequence[RunRecord]) -> list[RunRecord]:
        """The records in the order of the selection: workers finish in any."""
        specs = [spec.name for specs in self.session.items_by_file.values() for spec in specs]
        place = {name: number for number, name in enumerate(specs)}
        return sorted(records, key=lambda record: place.get(record.item_id, len(place)))

    def _write_manifest(self, records: Sequence[RunRecord]) -> None:
        import pytest_madengine
        from pytest_madengine.context.build import given_values
        from pytest_madengine.manifest.references import References
        from pytest_madengine.manifest.writer import (
            BuildReport,
            Head,
            deployment_config,
            make_manifest,
            manifest_context,
            write_manifest,
        )
        from pytest_madengine.plan.placement import executor_of

        session, settings = self.session, self.session.settings
        references = References(settings.environ, session.credentials, session.redactor)
        given = references.replace(given_values(session.context))
        head = Head(
            generator={"name": "pytest-madengine", "version": pytest_madengine.__version__},
            context=manifest_context(given),
            deployment=deployment_config(given, executor_of(session.context.values)),
            registry=settings.registry,
            local_image=str(session.context.get("MAD_CONTAINER_IMAGE") or settings.use_image),
        )
        reports = [BuildReport.from_dict(record.build) for record in records if record.build]
        assert settings.manifest_out is not None
        write_manifest(settings.manifest_out, make_manifest(head, reports))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Says where the manifest is."""
        path = self.session.settings.manifest_out
        if path is not None and self.session.manifest is None and path.exists():
            terminalreporter.write_line(f"manifest: {path}")


def build_phase(records: Sequence[RunRecord]) -> dict[str, Any]:
    """The build summary (contract 19.2): what was built and pushed; seconds."""
    from pytest_madengine.manifest.writer import BuildReport, build_summary

    return build_summary(BuildReport.from_dict(record.build) for record in records if record.build)


def run_phase(records: Sequence[RunRecord]) -> dict[str, Any]:
    """The run summary (contract 19.2): every item once; seconds."""
    groups: dict[Outcome, list[dict[str, Any]]] = {outcome: [] for outcome in Outcome}
    for record in records:
        groups[record.outcome].append(_item(record))
    return {
        "successful_runs": groups[Outcome.SUCCESS],
        "failed_runs": groups[Outcome.FAILURE],
        "skipped_runs": groups[Outcome.SKIPPED],
        "total_execution_time": round(sum(record.durations.get("run", 0.0) for record in records), 3),
    }


def both_phases(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Both summaries of a session that builds and runs (contract 19.2)."""
    return {
        "build_phase": build_phase(records),
        "run_phase": run_phase(records),
        "overall_success": all(record.outcome is not Outcome.FAILURE for record in records),
    }


def _item(record: RunRecord) -> dict[str, Any]:
    return {
        "model": record.model,
        "item": record.item_id,
        "status": str(record.outcome),
        "reason": record.reason,
        "duration": record.durations.get("run", 0.0),
        "image": record.image.get("name", ""),
        "digest": record.image.get("digest", ""),
        "performance": [{"row": one.row, "value": one.value, "metric": one.name} for one in record.metrics],
    }


def _write_json(path: Any, value: dict[str, Any]) -> None:
    write_atomic(path, json.dumps(value, indent=2) + "\n")
