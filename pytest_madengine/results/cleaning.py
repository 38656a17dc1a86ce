"""The gate in front of every projection of a record: no control characters, no secrets, bounded lengths.

What was measured stays true: a number is never masked as the value of a metric, in a further cell of its row
or in a column that holds numbers.  There it is a number, and nothing tells that a secret has the same digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pytest_madengine.results.columns import V2_COLUMNS
from pytest_madengine.results.readings import number
from pytest_madengine.results.record import Attempt, Metric, RunRecord
from pytest_madengine.secrets import MASK, Redactor
from pytest_madengine.util import text

#: Columns that hold numbers of ours.
_NUMBERS: Final = frozenset(
    name
    for name in (*V2_COLUMNS, "n_gpus_v1")
    if name.startswith(("n_gpus", "nnodes", "gpus_")) or name.endswith(("_duration", "_size", "_number"))
)


def clean_record(record: RunRecord, redactor: Redactor) -> RunRecord:
    """The record as every output may have it.  Cleaning a clean record changes nothing."""
    gate = Gate(redactor)
    return replace(
        record,
        item_id=gate.name(record.item_id),
        model=gate.name(record.model),
        reason=gate.message(record.reason),
        hint=gate.message(record.hint),
        warnings=tuple(map(gate.message, record.warnings)),
        metrics=gate.metrics(record.metrics),
        columns=gate.columns(record.columns),
        configs=gate.configs(record.configs),
        image=gate.tree(record.image),
        host=gate.tree(record.host),
        data=tuple(gate.tree(part) for part in record.data),
        artifacts=tuple(map(gate.path, record.artifacts)),
        log_file=gate.path(record.log_file),
        log_tail=tuple(map(gate.log_line, record.log_tail)),
        attempts=tuple(map(gate.attempt, record.attempts)),
        gate=gate.tree(record.gate),
        # A manifest must work: its secrets are references already, its other texts stay as they are.
        build=text.tree(record.build, _encodable, _encodable),
        resumed_from=text.visible(record.resumed_from),
    )


class Gate:
    """What texts of a kind become."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def name(self, given: str) -> str:
        """Names of models, metrics, rows and columns: words of a language in them are no secrets."""
        return self._redactor.name(text.name(self._redactor.name(given)))

    def message(self, given: str) -> str:
        """Reasons, hints, warnings."""
        return text.clip(self._masked(given), text.MESSAGE_LIMIT)

    def log_line(self, given: str) -> str:
        """A line of the end of a log."""
        return text.clip(self._masked(text.log_line(given)), text.LINE_LIMIT)

    def cell(self, given: str) -> str:
        """A cell of a results file, as a terminal shows it."""
        return text.clip(self._redactor.text(text.plain(self._redactor.text(given))), text.CELL_LIMIT)

    def value(self, given: str) -> str:
        """A measured value: a number stays the number that was measured."""
        if not text.is_safe(given):
            return self.message(given)
        return given if _is_number(given) else self.cell(given)

    def metrics(self, given: tuple[Metric, ...]) -> tuple[Metric, ...]:
        """Metrics: values, names and further cells."""
        return tuple(
            replace(
                metric,
                value=self.value(metric.value),
                name=self.name(metric.name),
                row=self.name(metric.row),
                overrides={self.name(key): self.value(cell) for key, cell in metric.overrides.items()},
                extra={self.name(key): self.value(cell) for key, cell in metric.extra.items()},
            )
            for metric in given
        )

    def columns(self, given: Mapping[str, str]) -> dict[str, str]:
        """Columns of perf.csv that do not depend on a metric."""
        return {
            name: self.value(cell) if name in _NUMBERS else self.cell(cell) for name, cell in given.items()
        }

    def configs(self, given: Any) -> Any:
        """The content of a configuration file: nothing in it was measured, so numbers are masked, too."""
        if isinstance(given, dict):
            return {self.name(str(key)): self.configs(part) for key, part in given.items()}
        if isinstance(given, (list, tuple)):
            return [self.configs(part) for part in given]
        if isinstance(given, str):
            return self.cell(given)
        if isinstance(given, int) and not isinstance(given, bool):
            return given if self._redactor.text(str(given)) == str(given) else MASK
        return given

    def tree(self, given: Any) -> Any:
        """JSON values of our own: texts in them may repeat names that others chose."""
        if isinstance(given, Mapping):
            return {self.name(str(key)): self.tree(part) for key, part in given.items()}
        return text.tree(given, self.cell, self.name)

    def path(self, given: str) -> str:
        """A relative path, as the collector names files."""
        parts = (self._redactor.file_name(part, words=False) for part in given.split("/"))
        return "/".join(map(text.file_name, parts))

    def attempt(self, given: Attempt) -> Attempt:
        """A try of an item."""
        return replace(given, reason=self.message(given.reason))

    def _masked(self, given: str) -> str:
        masked = self._redactor.text(given)
        if text.is_safe(masked):
            return masked
        # A secret with something invisible in it must not be shown in pieces.
        shown = text.plain(masked)
        hidden = self._redactor.text(shown)
        return hidden if hidden != shown else self._redactor.text(text.visible(masked))


def _is_number(given: str) -> bool:
    return number(given) is not None


def _encodable(given: str) -> str:
    try:
        given.encode()
    except UnicodeEncodeError:
        return text.visible(given)
    return given
