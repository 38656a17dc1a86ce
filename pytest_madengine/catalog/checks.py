"""Static checks of models: what will most likely go wrong when they run.  Nothing is executed.

Every directory is listed once and every Dockerfile read once, so that ten thousand entries stay cheap.
"""

from __future__ import annotations

import os
import posixpath
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from pytest_madengine.catalog.model import Model
from pytest_madengine.errors import Warned

#: Files beside Dockerfiles that are no candidates (contract 8.1).
_NO_CANDIDATE: Final = (".bak", ".orig", ".rej", ".swp", "~")
_CONTEXT: Final = b"# CONTEXT "
_CONTEXT_LINES: Final = 5
#: Bytes read of a Dockerfile; a CONTEXT line longer than 4096 is an error anyway (contract 8.1).
_HEAD: Final = 8192
#: What ``pytest -m`` accepts in an identifier.
_MARKER: Final = re.compile(r"[^\W_][\w:+\-.\[\]]*")
_NAMED: Final = 5


def check_models(root: Path, models: Iterable[Model]) -> tuple[Warned, ...]:
    """Warnings about models, in their order; then about what several models have in common.

    :param root: the MAD root; it is only read.
    """
    chosen = list(models)
    files = RootFiles(root)
    found = [warning for model in chosen for warning in _check_model(model, files)]
    return (*dict.fromkeys(found), *_shared_results(chosen), *_odd_tags(chosen), *_odd_names(chosen))


class RootFiles:
    """Directory listings and Dockerfile heads of a MAD root, each read at most once."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._listings: dict[str, tuple[list[str], frozenset[str]]] = {}
        self._candidates: dict[str, list[str]] = {}
        self._context: dict[str, bool] = {}

    def candidates(self, prefix: str) -> list[str]:
        """Dockerfiles ``<prefix>.*``, sorted, relative to the MAD root."""
        found = self._candidates.get(prefix)
        if found is None:
            found = self._candidates[prefix] = self._find(prefix)
        return found

    def _find(self, prefix: str) -> list[str]:
        directory, _, name = prefix.rpartition("/")
        names, _directories = self._listing(directory)
        start = f"{name}."
        found = []
        for position in range(bisect_left(names, start), len(names)):
            if not names[position].startswith(start):
                break
            if not names[position].endswith(_NO_CANDIDATE):
                found.append(posixpath.join(directory, names[position]))
        return found

    def is_file(self, path: str) -> bool:
        directory, _, name = path.rpartition("/")
        names, _directories = self._listing(directory)
        position = bisect_left(names, name)
        return position < len(names) and names[position] == name

    def names(self, directory: str) -> list[str]:
        """Sorted names of the regular files of a directory; none when it is no directory."""
        return self._listing(directory)[0]

    def has_directories(self, directory: str) -> bool:
        """True when a directory has directories in it."""
        return bool(self._listing(directory)[1])

    def is_directory(self, path: str) -> bool:
        directory, _, name = path.rpartition("/")
        return path in ("", ".") or name in self._listing(directory)[1]

    def has_context(self, path: str) -> bool:
        """True when one of the first five lines has ``# CONTEXT ``; also for a file we may not read."""
        if path not in self._context:
            self._context[path] = self._read_context(path)
        return self._context[path]

    def _read_context(self, path: str) -> bool:
        try:
            with open(f"{self._root}/{path}", "rb", buffering=0) as stream:  # noqa: PTH123 - ten thousand times
                head = stream.read(_HEAD) or b""
        except OSError:  # the build reports it, with the reason
            return True
        return any(_CONTEXT in line for line in head.split(b"\n", _CONTEXT_LINES)[:_CONTEXT_LINES])

    def _listing(self, directory: str) -> tuple[list[str], frozenset[str]]:
        """Sorted names of the regular files, and names of the directories."""
        if directory not in self._listings:
            files, directories = [], []
            try:
                with os.scandir(posixpath.join(self._root, directory)) as entries:
                    for entry in entries:
                        if entry.is_dir():
                            directories.append(entry.name)
                        elif entry.is_file():
                            files.append(entry.name)
            except OSError:  # absent or closed to us: whatever it should hold counts as missing
                pass
            self._listings[directory] = (sorted(files), frozenset(directories))
        return self._listings[directory]


def _check_model(model: Model, files: RootFiles) -> Iterator[Warned]:
    if model.dockerfile and not model.prebuilt_image:
        candidates = files.candidates(model.dockerfile)
        if not candidates:
            yield _warned(model, f"no Dockerfile matches {model.dockerfile}.*")
        for path in candidates:
            if not files.has_context(path):
                yield Warned(
                    f"{path} has no CONTEXT line in its first five lines: it matches every host", path
                )
    if model.scripts and not files.is_file(model.scripts):
        if not files.is_directory(model.scripts):
            yield _warned(model, f"script {model.scripts} does not exist")
        elif not files.is_file(posixpath.normpath(f"{model.scripts}/run.sh")):
            yield _warned(model, f"directory {model.scripts} has no run.sh")


def _warned(model: Model, text: str) -> Warned:
    place = f"{model.source}: entry {model.index + 1} ({model.short_name!r})"
    return Warned(f"{place}: {text}", model.source)


def _shared_results(models: Sequence[Model]) -> Iterator[Warned]:
    users: dict[str, list[str]] = defaultdict(list)
    for model in models:
        if model.multiple_results:
            users[model.multiple_results].append(model.name)
    for file, names in users.items():
        if len(set(names)) > 1:
            yield Warned(f"models {_several(names)} share the results file name {file!r}")


def _odd_tags(models: Sequence[Model]) -> Iterator[Warned]:
    users: dict[str, list[Model]] = defaultdict(list)
    for model in models:
        for tag in model.tags:
            users[tag].append(model)
    for tag, tagged in users.items():
        names = _several([model.name for model in tagged])
        if tag == "all":
            yield Warned(f"tag 'all' of {names} hides the selector 'all'", tagged[0].source)
        elif "," in tag:
            yield Warned(f"tag {tag!r} of {names} cannot be selected: it has a comma", tagged[0].source)
        elif not is_marker(tag):
            yield Warned(f"tag {tag!r} of {names} cannot be typed after pytest -m", tagged[0].source)


def is_marker(tag: str) -> bool:
    """True when ``pytest -m`` takes the tag as a name."""
    return _MARKER.fullmatch(tag) is not None


def _odd_names(models: Sequence[Model]) -> Iterator[Warned]:
    for model in models:
        if "," in model.name or model.name != model.name.strip():
            yield _warned(model, "the name has a comma or outer blanks: no selector can name it")


def _several(names: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(names))
    shown = ", ".join(map(repr, distinct[:_NAMED]))
    return shown if len(distinct) <= _NAMED else f"{shown} and {len(distinct) - _NAMED} more"
