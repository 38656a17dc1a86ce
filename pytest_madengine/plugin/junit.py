"""JUnit properties: flat, stable names (docs/reference/formats.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_madengine.util.text import visible

if TYPE_CHECKING:
    from pytest_madengine.results.record import RunRecord
    from pytest_madengine.session.session import MadSession


def case_properties(record: RunRecord, artifacts: str) -> list[tuple[str, str]]:
    """``mad.*`` properties of one test case."""
    first = record.metrics[0] if record.metrics else None
    pairs = [
        ("mad.model", record.model),
        ("mad.status", str(record.outcome)),
        ("mad.reason", record.reason),
        ("mad.performance", first.value if first else ""),
        ("mad.metric", first.name if first else ""),
    ]
    for metric in record.metrics:
        name = f"{metric.row}.{metric.name}" if metric.row else metric.name or "value"
        pairs += [(f"mad.metric.{name}", metric.value), (f"mad.metric.{name}.unit", metric.name)]
    pairs += [
        ("mad.n_gpus", record.columns.get("n_gpus", "")),
        ("mad.gpu_architecture", record.columns.get("gpu_architecture", "")),
        ("mad.image", record.image.get("name", "")),
        ("mad.image_digest", record.image.get("digest", "") or record.image.get("id", "")),
        ("mad.fingerprint", record.fingerprint),
        ("mad.attempts", str(len(record.attempts))),
        ("mad.host", str(record.host.get("hostname", ""))),
        ("mad.test_duration", record.columns.get("test_duration", "")),
        ("mad.build_duration", record.columns.get("build_duration", "")),
        ("mad.log", record.log_file),
        ("mad.artifacts", artifacts),
    ]
    pairs += _performance(record)
    # pytest escapes the values of properties for XML, but not their names.
    return [(visible(name), visible(value)) for name, value in pairs]


def _performance(record: RunRecord) -> list[tuple[str, str]]:
    """What the performance gate says; nothing where it was not asked.  Changes and bands in percent."""
    if not record.gate:
        return []
    pairs = [("mad.gate", str(record.gate["verdict"]))]
    metrics = record.gate.get("metrics", ())
    for entry in metrics:
        row = str(entry["row"]).removeprefix(f"{record.model}_") if entry["row"] != record.model else ""
        name = f"{row}.{entry['name']}" if row else entry["name"] or "value"
        pairs.append((f"mad.gate.{name}", entry["verdict"]))
        pairs += [
            (f"mad.{key}.{name}", f"{entry[key]:.6g}")
            for key in ("baseline", "change", "band")
            if entry[key] is not None
        ]
    return [*pairs, ("mad.runs", str(max((len(one["runs"]) for one in metrics), default=1)))]


def suite_properties(session: MadSession) -> list[tuple[str, str]]:
    """Properties of the suite, written by the controlling process."""
    import pytest_madengine
    from pytest_madengine.pipeline.record import host

    pairs = [("mad.plugin_version", pytest_madengine.__version__), ("mad.session", session.run_id)]
    pairs += [(f"mad.context.{name}", str(value)) for name, value in host(session).items()]
    return [(name, visible(session.redactor.name(value))) for name, value in pairs]
