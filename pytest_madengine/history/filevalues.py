"""Earlier values out of files of results: ``records.jsonl`` of sessions, or a perf.csv."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final

from pytest_madengine.errors import ConfigError, HistoryError, RecordError
from pytest_madengine.gate.facts import Value, values_of
from pytest_madengine.gate.key import gate_key, image_family
from pytest_madengine.gate.past import FIRST, Earlier
from pytest_madengine.history.csvrows import parse_csv, read_file
from pytest_madengine.results.readings import number
from pytest_madengine.results.record import Outcome, RunRecord
from pytest_madengine.util import jsontext

#: Key facts that a perf.csv knows less well than a record: the GPU by its architecture only.
_GPU: Final = "gpu"


class FileValues:
    """The values of one file by their key.

    :param now: UTC without time zone: rows of a perf.csv have no time, the last one counts as new.
    :raises HistoryError: it cannot be read, or is neither of the formats.
    """

    def __init__(self, path: Path, now: datetime) -> None:
        self._by_key: dict[str, list[Earlier]] = {}
        self._by_architecture = path.suffix.lower() == ".csv"
        try:
            data = read_file(path)
            if self._by_architecture:
                self._read_csv(data, path, now)
            else:
                self._read_records(data, path)
        except ConfigError as error:
            raise HistoryError(
                error.message, hint="--mad-gate-history takes a database URL, a records.jsonl or a perf.csv"
            ) from None

    def earlier(self, facts: Mapping[str, str]) -> tuple[Earlier, ...]:
        """The values that may be compared with one that has these facts."""
        if self._by_architecture and facts.get(_GPU):
            facts = {**facts, _GPU: facts.get("gpu_architecture", "")}
        return tuple(self._by_key.get(gate_key(facts), ()))

    def _read_records(self, data: bytes, path: Path) -> None:
        lines = data.splitlines()
        for place, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                record = RunRecord.from_dict(jsontext.parse(line, constants=True))
                self._take_record(record)
            except (RecordError, AttributeError, KeyError, TypeError, ValueError) as error:
                if place == len(lines) and not data.endswith(b"\n"):
                    return  # being written, or torn by the end of a process
                text = " ".join(str(error).split())
                raise HistoryError(f"{path}: line {place} is not a record: {text}") from None

    def _take_record(self, record: RunRecord) -> None:
        if not record.has_row:
            return
        finished = _moment(record.finished) or _moment(record.started)
        if finished is None:
            raise ValueError(f"'{record.finished}' is not a time")
        entries = record.gate.get("metrics", ())
        judged = {(entry.get("row", ""), entry.get("name", "")): entry for entry in entries}
        for value in values_of(record):
            entry = judged.get((value.row, value.name), {})
            first = (entry.get("runs") or [value.number])[0]
            self._add(
                value.facts,
                Earlier(record.run_id, finished, first, FIRST, entry.get("verdict", ""), context=value.facts),
            )

    def _read_csv(self, data: bytes, path: Path, now: datetime) -> None:
        rows = parse_csv(data, str(path)).rows
        for place, row in enumerate(rows):
            value = _value_of_row(row)
            if value is not None:
                session = row.get("run_id") or f"row {place + 1}"
                finished = now - timedelta(seconds=len(rows) - place)
                self._add(value.facts, Earlier(session, finished, value.number, context=value.facts))

    def _add(self, facts: Mapping[str, str], one: Earlier) -> None:
        self._by_key.setdefault(gate_key(facts), []).append(one)


def _value_of_row(row: Mapping[str, str]) -> Value | None:
    found = number(row.get("performance", ""))
    if row.get("status", "").strip() != str(Outcome.SUCCESS) or found is None or not math.isfinite(found):
        return None
    on_gpus = row.get("n_gpus", "") not in ("", "0")
    facts = {
        "model": row.get("model", ""),
        "metric": row.get("metric", ""),
        "args": row.get("args", ""),
        "n_gpus": row.get("n_gpus", ""),
        _GPU: row.get("gpu_architecture", "") if on_gpus else "",
        "training_precision": row.get("training_precision", ""),
        "data": row.get("dataname", ""),
        "image_family": image_family(row.get("docker_image", ""), row.get("docker_file", "")),
        "hostname": row.get("machine_name", ""),
        "image": row.get("docker_image", ""),
        "base_image": row.get("base_docker", ""),
        "git_commit": row.get("git_commit", ""),
    }
    kept = {name: value for name, value in facts.items() if value}
    return Value(facts["model"], facts["metric"], found, kept)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment.astimezone(timezone.utc).replace(tzinfo=None) if moment.tzinfo else moment


def read_file_values(path: Path) -> FileValues:
    """The values of a file as they are now.  :raises HistoryError: as :class:`FileValues`."""
    return FileValues(path, datetime.now(timezone.utc).replace(tzinfo=None))
