"""Checks of the Dockerfiles that models name (contract 8.1)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Final

from pytest_madengine.catalog.checks import RootFiles
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.keys import GUESTS, VENDORS
from pytest_madengine.context.types import Context
from pytest_madengine.errors import DockerfileError
from pytest_madengine.images.context_line import ContextLine, ContextLineError, read_context_line
from pytest_madengine.images.dockerfile import DockerfileIndex
from pytest_madengine.images.syntax import base_image
from pytest_madengine.lint import rules
from pytest_madengine.lint.documents import Collector, Entry, Texts
from pytest_madengine.lint.findings import Place
from pytest_madengine.lint.leaks import find_assignments, find_leaks
from pytest_madengine.lint.positions import Positions

_FROM: Final = re.compile(r"^[ \t]*FROM[ \t]+\S", re.MULTILINE | re.IGNORECASE)
#: Keys of a CONTEXT line whose values are known.
_VALUES: Final[Mapping[str, tuple[str, ...]]] = {"gpu_vendor": VENDORS, "guest_os": GUESTS}


class DockerfileChecks:
    """Each Dockerfile is read once, whatever the number of models that share it.

    :param context: the context that a run would have; ``None``: not known.
    """

    def __init__(self, files: RootFiles, texts: Texts, collector: Collector, context: Context | None) -> None:
        self._files = files
        self._texts = texts
        self._collector = collector
        self._context = context
        self._index = DockerfileIndex(texts.root)
        self._lines: dict[str, ContextLine | None] = {}
        self._fits: dict[str, str] = {}

    def check(self, entry: Entry) -> None:
        """The Dockerfiles of one model."""
        model = entry.model
        if model.dockercontext and not self._files.is_directory(model.dockercontext):
            text = f"the build context {model.dockercontext} is no directory"
            self._collector.add(rules.NO_BUILD_CONTEXT, entry.place("dockercontext"), text, model=model.name)
        image = self._context.get("MAD_CONTAINER_IMAGE") if self._context is not None else None
        if not model.dockerfile or model.prebuilt_image or image:
            return
        candidates = self._files.candidates(model.dockerfile)
        place = entry.place("dockerfile")
        if not candidates:
            text = f"no Dockerfile matches {model.dockerfile}.*"
            self._collector.add(rules.NO_DOCKERFILE, place, text, hint=self._near(model), model=model.name)
            return
        lines = [self._line(path) for path in candidates]
        if all(line is not None and _vendor_of(line) == "" for line in lines):
            text = f"no Dockerfile {model.dockerfile}.* names a known gpu_vendor"
            hint = f"known are {', '.join(VENDORS)}"
            self._collector.add(rules.NO_VENDOR, place, text, hint=hint, model=model.name)
        elif self._context is not None and None not in lines:
            reason = self._misfit(model, self._context)
            if reason:
                self._collector.add(rules.NOTHING_FITS, place, reason, model=model.name)

    def _near(self, model: Model) -> str:
        if self._files.is_file(model.dockerfile):
            return f"{model.dockerfile} exists, but only {model.dockerfile}.<something> is looked for"
        directory, slash, name = model.dockerfile.rpartition("/")
        stems = {other.partition(".")[0] for other in self._files.names(directory)}
        close = difflib.get_close_matches(name, sorted(stems), n=1)
        if close:
            return f"did you mean {directory}{slash}{close[0]}?"
        return "candidates are files whose name continues the field with a dot"

    def _misfit(self, model: Model, context: Context) -> str:
        """Why no Dockerfile fits the context; empty: one does."""
        if model.dockerfile not in self._fits:
            try:
                self._index.match(model, context)
                self._fits[model.dockerfile] = ""
            except DockerfileError as error:
                _, _, details = error.message.partition(f"for model {model.name}")
                self._fits[model.dockerfile] = f"no Dockerfile fits the context{details}"
        return self._fits[model.dockerfile]

    def _line(self, path: str) -> ContextLine | None:
        """The CONTEXT line; ``None`` when it is wrong or the file cannot be read."""
        if path not in self._lines:
            text = self._texts.read(path)
            self._lines[path] = None if text is None else self._read(path, text)
        return self._lines[path]

    def _read(self, path: str, text: str) -> ContextLine | None:
        self._check_text(path, text)
        try:
            line = read_context_line(text, path)
        except ContextLineError as error:
            second = not error.column
            self._collector.add(
                rules.TWO_CONTEXTS if second else rules.INVALID_CONTEXT,
                Place(path, error.line, error.column or 1),
                error.reason,
                hint=error.hint,
            )
            return None
        for number, reason in line.unread:
            text = f"the CONTEXT line is not read: {reason}"
            self._collector.add(rules.UNREAD_CONTEXT, Place(path, number, 1), text)
        if not line.line and not line.unread:
            self._collector.add(
                rules.NO_CONTEXT,
                Place(path, 1, 1),
                "no CONTEXT line in the first five lines: the file matches every host",
                hint="add a line such as: # CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'UBUNTU'}",
            )
        for key, known in _VALUES.items():
            value = line.values.get(key)
            if value is not None and (not isinstance(value, str) or value.upper() not in known):
                close = difflib.get_close_matches(str(value).upper(), known, n=1)
                self._collector.add(
                    rules.ODD_CONTEXT,
                    Place(path, line.line, 1),
                    f"{key} {value!r} is none of {', '.join(known)}",
                    hint=f"did you mean {close[0]!r}?" if close else "",
                )
        return line

    def _check_text(self, path: str, text: str) -> None:
        positions = Positions(text)
        for leak in find_leaks(text):
            place = Place(path, *positions.at(leak.offset))
            self._collector.add(rules.SECRET, place, f"looks like {leak.what}", hint=_SECRET_HINT)
        for leak in find_assignments(text):
            place = Place(path, *positions.at(leak.offset))
            self._collector.add(rules.SECRET_VALUE, place, f"{leak.what} is a literal", hint=_SECRET_HINT)
        image = base_image(text, {})
        if image and _is_unpinned(image):
            start = _FROM.search(text)
            place = Place(path, *positions.at(start.start() if start else 0))
            message = f"base image {image!r} has no fixed tag: another build may get another image"
            self._collector.add(rules.UNPINNED_BASE, place, message, hint="name a tag or a digest")


_SECRET_HINT: Final = (
    "take it out and revoke it; pass it by a build secret, by credential.json or as MAD_SECRETS_*"
)


def _vendor_of(line: ContextLine) -> str | None:
    """The vendor a file is for; ``None``: any; empty: one that does not exist."""
    value = line.values.get("gpu_vendor")
    if value is None:
        return None
    return value.upper() if isinstance(value, str) and value.upper() in VENDORS else ""


def _is_unpinned(image: str) -> bool:
    if "$" in image or image == "scratch" or "@" in image:
        return False
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return not colon or tag == "latest"
