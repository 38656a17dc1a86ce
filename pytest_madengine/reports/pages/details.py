"""What a page says about one run beyond its cells, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_madengine.reports.pages.encode import encode_json

#: From a session and a path relative to its directory to a link from the page; empty: there is none.
Link = Callable[[str, str], str]

#: Runs of one block: a page decodes one block when it shows one run.
BLOCK: Final = 64
#: Characters that all blocks may have, and the share of it in which runs keep their logs.
BUDGET: Final = 4_500_000
_WITH_LOGS: Final = 0.7
#: Artifacts that are named, and characters of a configuration and of a line of a log that are kept.
_ARTIFACTS: Final = 100
_CONFIGS: Final = 8_000
_LINE: Final = 2_000

#: Fields of a record that are taken as they are.
_PLAIN: Final = (
    *("run_id", "item_id", "model", "outcome", "reason", "hint", "phase", "exit_code", "started", "finished"),
    *("durations", "image", "host", "lease", "data", "warnings", "attempts", "fingerprint", "gate"),
    *("infrastructure", "resumed_from"),
)


@dataclass
class Details:
    """Encoded blocks, newest run first, and the place of each run that is on the page."""

    blocks: list[str] = field(default_factory=list)
    #: Number of a run by the position of its record, from 0.
    place: dict[int, int] = field(default_factory=dict)
    #: Runs without their log, and without any detail.
    shortened: int = 0
    left_out: int = 0


def details_of(records: Sequence[Mapping[str, Any]], link: Link, budget: int = BUDGET) -> Details:
    """Details of records (``RunRecord.to_dict``), oldest first.

    The newest come first; when the budget runs out, the rest loses its logs and then everything.
    """
    result = Details()
    used = 0
    newest = range(len(records) - 1, -1, -1)
    for start in range(0, len(records), BLOCK):
        positions = newest[start : start + BLOCK]
        if used >= budget:
            result.left_out += len(positions)
            continue
        logs = used < budget * _WITH_LOGS
        block = encode_json([detail(records[position], link, logs=logs) for position in positions])
        used += len(block)
        result.shortened += 0 if logs else len(positions)
        for position in positions:
            result.place[position] = len(result.place)
        result.blocks.append(block)
    return result


def detail(record: Mapping[str, Any], link: Link, *, logs: bool = True) -> dict[str, Any]:
    """The details of one run; empty ones are left out.  Links are relative and safe to follow."""
    session = str(record.get("run_id", ""))
    columns = record.get("columns") or {}
    found = {name: record.get(name) for name in _PLAIN}
    found["git_commit"] = columns.get("git_commit", "")
    found["log"] = _linked(session, [record.get("log_file") or ""], link)
    artifacts = [str(path) for path in record.get("artifacts") or () if path != record.get("log_file")]
    found["artifacts"] = _linked(session, artifacts[:_ARTIFACTS], link)
    found["more_artifacts"] = len(artifacts[_ARTIFACTS:])
    found["metrics"] = [_metric(metric) for metric in record.get("metrics") or ()]
    if logs:
        found["log_tail"] = [str(line)[:_LINE] for line in record.get("log_tail") or ()]
        found["configs"] = _configs(record.get("configs"))
    else:
        found["shortened"] = True
    return {name: value for name, value in found.items() if value or value == 0}


def _metric(metric: Mapping[str, Any]) -> list[str]:
    return [str(metric.get(name, "")) for name in ("row", "name", "value", "outcome")]


def _linked(session: str, paths: Iterable[str], link: Link) -> list[list[str]]:
    """``[name, link]`` of each path: the name without the directory of the item."""
    return [[path.partition("/")[2] or path, link(session, path)] for path in paths if path]


def _configs(value: Any) -> str:
    if value is None:
        return ""
    import json

    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= _CONFIGS else text[:_CONFIGS] + "\n... (cut)"
