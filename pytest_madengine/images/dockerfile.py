"""Which Dockerfiles of a MAD root a model is built from (contract 8.1 and the filter row of 7.5)."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pytest_madengine.catalog.ids import bases_of
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.errors import DockerfileError
from pytest_madengine.images.context_line import ContextLine, read_context_line, same
from pytest_madengine.images.syntax import (
    base_image,
    declared_args,
    references_build_context,
    secret_mounts,
    uses_secret_mounts,
)

__all__ = [
    "DockerfileIndex",
    "DockerfileMatch",
    "base_image",
    "declared_args",
    "match_dockerfiles",
    "read_dockerfile",
    "references_build_context",
    "secret_mounts",
    "uses_secret_mounts",
]

#: Left-overs of editors and patches (contract 8.1).
IGNORED: Final = (".bak", ".orig", ".rej", ".swp", "~")
#: Keys whose texts are compared case-insensitively.
CASELESS: Final = frozenset({"gpu_vendor", "guest_os"})
#: Candidates named in the message about files that do not match.
_SHOWN: Final = 20


@dataclass(frozen=True)
class DockerfileMatch:
    """One Dockerfile that fits a model and the context: one item."""

    path: Path
    #: POSIX path relative to the MAD root.
    relative: str
    #: File name without a trailing ``.Dockerfile``, unless there is a file of that name as well.
    base: str
    #: Object of the CONTEXT line; empty without one.
    context: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Difference:
    """The first key in which a candidate and the context differ."""

    relative: str
    key: str
    file_value: object
    context_value: object

    def __str__(self) -> str:
        return f"{self.relative}: {self.key} is {self.file_value!r}, context has {self.context_value!r}"


def match_dockerfiles(root: Path, model: Model, context: Context) -> list[DockerfileMatch]:
    """The Dockerfiles of one model; see :meth:`DockerfileIndex.match`."""
    return DockerfileIndex(root).match(model, context)


def read_dockerfile(path: Path, relative: str) -> str:
    """The text of a Dockerfile; bytes that are not UTF-8 are replaced.

    :raises DockerfileError: the file cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig", "replace")
    except OSError as error:
        raise DockerfileError(f"{relative}: {error.strerror or error}") from None


class DockerfileIndex:
    """The Dockerfiles of a MAD root, each directory listed and each file read once.

    Made for one session: files added later are not seen.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listings: dict[str, list[str]] = {}
        self._lines: dict[str, ContextLine] = {}
        self._context: Context | None = None
        self._matches: dict[str, list[DockerfileMatch]] = {}

    def match(self, model: Model, context: Context) -> list[DockerfileMatch]:
        """All Dockerfiles ``<dockerfile>.*`` whose CONTEXT line fits, sorted by name.

        :raises DockerfileError: there is none, none fits, or a CONTEXT line is wrong: an error of this
            model only.
        """
        if context is not self._context:
            self._context = context
            self._matches = {}
        known = self._matches.get(model.dockerfile)
        if known is None:
            known = self._matches[model.dockerfile] = self._find(model, context)
        return list(known)

    def _find(self, model: Model, context: Context) -> list[DockerfileMatch]:
        if not model.dockerfile:
            raise DockerfileError(
                f"{model.source}: model {model.name} has no dockerfile",
                hint="give the entry a dockerfile, or env_vars.DOCKER_IMAGE_NAME",
            )
        candidates = list(self._candidates(model.dockerfile))
        if not candidates:
            raise DockerfileError(
                f"no Dockerfile matches {model.dockerfile}.*", hint=self._near(model.dockerfile)
            )
        lines = {relative: self._line(relative) for relative in candidates}
        differences = _differences(lines, context)
        if all(difference is not None for difference in differences.values()):
            raise DockerfileError(_nothing_fits(model.name, differences))
        bases = bases_of(relative.rpartition("/")[2] for relative in candidates)
        return [
            self._made(relative, bases[relative.rpartition("/")[2]], lines[relative])
            for relative in candidates
            if differences[relative] is None
        ]

    def _made(self, relative: str, base: str, line: ContextLine) -> DockerfileMatch:
        return DockerfileMatch(self._root / relative, relative, base, line.values, line.warnings)

    def _candidates(self, prefix: str) -> Iterator[str]:
        directory, slash, name = prefix.rpartition("/")
        names = self._listing(directory)
        start = f"{name}."
        for position in range(bisect.bisect_left(names, start), len(names)):
            if not names[position].startswith(start):
                return
            yield f"{directory}{slash}{names[position]}"

    def _listing(self, directory: str) -> list[str]:
        """Sorted names of the regular files of a directory; empty when there is no such directory."""
        names = self._listings.get(directory)
        if names is None:
            try:
                with os.scandir(self._root / directory) as entries:
                    names = sorted(
                        entry.name
                        for entry in entries
                        if not entry.name.endswith(IGNORED) and _is_file(entry)
                    )
            except (FileNotFoundError, NotADirectoryError):
                names = []
            except (OSError, ValueError) as error:
                raise DockerfileError(f"{directory}: {getattr(error, 'strerror', None) or error}") from None
            self._listings[directory] = names
        return names

    def _line(self, relative: str) -> ContextLine:
        line = self._lines.get(relative)
        if line is None:
            text = read_dockerfile(self._root / relative, relative)
            line = self._lines[relative] = read_context_line(text, relative)
        return line

    def _near(self, prefix: str) -> str:
        directory, _, name = prefix.rpartition("/")
        if name in self._listing(directory):
            return f"{prefix} exists, but only names like {prefix}.ubuntu.amd.Dockerfile are looked for"
        return "candidates are files whose name continues the model's dockerfile field with a dot"


def _is_file(entry: os.DirEntry[str]) -> bool:
    """True for a regular file, also behind links; a link that leads nowhere is none."""
    try:
        return entry.is_file()
    except OSError:  # a circle of links
        return False


def _differences(lines: Mapping[str, ContextLine], context: Context) -> dict[str, _Difference | None]:
    """Per candidate the first difference, or ``None`` when it fits."""
    wanted = dict(context.values)
    wanted.setdefault("ctx_test", context.facts.ctx_test)
    wanted["gpu_vendor"] = context.gpu_vendor
    result = {relative: _difference(relative, line, wanted) for relative, line in lines.items()}
    if context.vendor_given or context.gpu_vendor.upper() != "CPU":
        return result
    # The vendor was detected as CPU: files made for CPU are used; without one any vendor will do (7.5).
    made_for_cpu = any(
        difference is None and "gpu_vendor" in lines[relative].values
        for relative, difference in result.items()
    )
    if made_for_cpu:
        return result
    del wanted["gpu_vendor"]
    return {relative: _difference(relative, line, wanted) for relative, line in lines.items()}


def _difference(relative: str, line: ContextLine, wanted: Mapping[str, object]) -> _Difference | None:
    for key, value in line.values.items():
        other = wanted.get(key)
        if key not in wanted or (key in CASELESS and not other):
            continue
        equal = same(value, other)
        if key in CASELESS and isinstance(value, str) and isinstance(other, str):
            equal = value.upper() == other.upper()
        if not equal:
            return _Difference(relative, key, value, other)
    return None


def _nothing_fits(model: str, differences: Mapping[str, _Difference | None]) -> str:
    shown = [str(difference) for difference in differences.values()]
    if len(shown) > _SHOWN:
        shown[_SHOWN:] = [f"and {len(shown) - _SHOWN} more"]
    return f"No dockerfiles matching context found for model {model}: {'; '.join(shown)}"
