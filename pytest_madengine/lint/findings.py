"""What a check found, and where."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How bad a finding is."""

    #: Something will fail, or a secret is in the open.
    ERROR = "error"
    #: Something has no effect, or another one than it seems to have.
    WARNING = "warning"
    #: Worth a look.
    NOTE = "note"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Rule:
    """One thing that is looked for."""

    #: Stable for ever, e.g. ``MAD101``; a rule that goes away leaves its number unused.
    id: str
    #: Words with hyphens, e.g. ``wrong-type``; ``--ignore`` accepts both.
    name: str
    severity: Severity
    #: One sentence: what is wrong.
    help: str

    @property
    def anchor(self) -> str:
        """Where ``docs/reference/lint-rules.md`` explains it."""
        return self.id.lower()


@dataclass(frozen=True, order=True)
class Place:
    """A file of the repository, and where in it; 0: not known, or the file as a whole."""

    #: POSIX path relative to the MAD root.
    path: str
    #: From 1.
    line: int = 0
    #: From 1, in characters.
    column: int = 0

    def __str__(self) -> str:
        return ":".join([self.path, *(str(number) for number in (self.line, self.column) if number)])


@dataclass(frozen=True)
class Finding:
    """One problem at one place."""

    rule: Rule
    place: Place
    #: What is wrong, in one line, without the name of the model.
    message: str
    #: What to do; may be empty.
    hint: str = ""
    #: Full name of the model it is about; empty: none, or all.
    model: str = ""

    @property
    def text(self) -> str:
        """The message, after the name of the model."""
        return f"{self.model}: {self.message}" if self.model else self.message


@dataclass(frozen=True)
class Report:
    """All that was found in a repository, in the order of its places."""

    findings: tuple[Finding, ...]
    #: Models that were looked at.
    models: int = 0
    #: Files that were read.
    files: int = 0
    #: ``get_models_json.py`` files whose models are not known, as they were not executed.
    not_executed: tuple[str, ...] = ()

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.rule.severity is severity for finding in self.findings)


def fingerprints(findings: Sequence[Finding]) -> list[str]:
    """For each finding 32 hex digits that stay the same when lines move, for tools that compare runs."""
    seen: Counter[str] = Counter()
    result = []
    for finding in findings:
        key = "\0".join([finding.rule.id, finding.place.path, finding.model, finding.message])
        # The same words twice in one file: told apart by their order.
        seen[key] += 1
        digest = hashlib.sha256(f"{key}\0{seen[key]}".encode("utf-8", "backslashreplace")).hexdigest()
        result.append(digest[:32])
    return result


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by file, line and column, each once; those of the root file first."""

    def key(finding: Finding) -> tuple[bool, Place, str, str]:
        return finding.place.path != "models.json", finding.place, finding.rule.id, finding.text

    return tuple(sorted(dict.fromkeys(findings), key=key))
