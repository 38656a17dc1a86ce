"""The files of a MAD root as the checks read them, each once, and where findings are collected."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_madengine.catalog.entries import parse_json
from pytest_madengine.catalog.model import Model
from pytest_madengine.catalog.problems import JsonError
from pytest_madengine.lint import rules
from pytest_madengine.lint.findings import Finding, Place, Rule
from pytest_madengine.lint.leaks import masked
from pytest_madengine.lint.positions import JsonPositions, Step

_BLANKS: Final = re.compile(r"\s+")


class Collector:
    """Takes findings; those of ignored rules are dropped, and secrets are masked whoever wrote the text."""

    def __init__(self, ignored: Collection[str] = ()) -> None:
        self.findings: list[Finding] = []
        #: Paths of the files that were read.
        self.files: set[str] = set()
        self._ignored = frozenset(ignored)

    def add(self, rule: Rule, place: Place, message: str, *, hint: str = "", model: str = "") -> None:
        """One finding; its message becomes one line."""
        if rule.id not in self._ignored:
            text, advice = (_BLANKS.sub(" ", masked(words)).strip() for words in (message, hint))
            self.findings.append(Finding(rule, place, text, advice, model))


@dataclass(frozen=True)
class Document:
    """One JSON file."""

    path: str
    value: object
    positions: JsonPositions

    def place(self, *path: Step, key: bool = False) -> Place:
        """Place of the value, or of the key, at a path."""
        return Place(self.path, *self.positions.of(path, key=key))


@dataclass(frozen=True)
class Entry:
    """One model, and the document it comes from; ``None``: it was made by a program."""

    model: Model
    document: Document | None = None

    def place(self, *path: Step, key: bool = False) -> Place:
        """Place of a field of the entry, or of the entry itself."""
        if self.document is None:
            return Place(self.model.source)
        return self.document.place(self.model.index, *path, key=key)


class Texts:
    """Text files of a MAD root.

    :param root: it is only read.
    """

    def __init__(self, root: Path, collector: Collector) -> None:
        self.root = root
        self._collector = collector
        self._texts: dict[str, str | None] = {}

    def read(self, path: str) -> str | None:
        """The text, bytes that are no UTF-8 replaced; ``None`` (a finding) when it cannot be read."""
        if path not in self._texts:
            try:
                data = (self.root / path).read_bytes()
            except (OSError, ValueError) as error:
                self._unreadable(path, error)
                self._texts[path] = None
            else:
                self._collector.files.add(path)
                self._texts[path] = data.decode("utf-8-sig", "replace")
        return self._texts[path]

    def json(self, path: str) -> Document | None:
        """A JSON file; ``None`` (a finding) when it is none."""
        try:
            data = (self.root / path).read_bytes()
        except OSError as error:
            self._unreadable(path, error)
            return None
        self._collector.files.add(path)
        try:
            value = parse_json(data, path)
        except JsonError as error:
            place = Place(path, error.line, error.column)
            self._collector.add(rules.INVALID_JSON, place, f"invalid JSON: {error.reason}")
            return None
        document = Document(path, value, JsonPositions(data.decode("utf-8-sig")))
        if _has_duplicates(document.positions.text):
            for member in document.positions.duplicates():
                place = Place(path, *document.positions.at(member.key))
                text = f"key {member.name!r} stands twice in the same object: only the last value counts"
                self._collector.add(rules.DUPLICATE_KEY, place, text, hint="remove one of them")
        return document

    def _unreadable(self, path: str, error: OSError | ValueError) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        self._collector.add(rules.UNREADABLE, Place(path), f"cannot be read: {reason}")


def _has_duplicates(text: str) -> bool:
    import json

    lost = 0

    def count(pairs: list[tuple[str, object]]) -> None:
        nonlocal lost
        lost += len(pairs) - len({name for name, _ in pairs})

    json.loads(text, object_pairs_hook=count, parse_int=str)
    return lost > 0
