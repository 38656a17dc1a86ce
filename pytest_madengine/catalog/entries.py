"""From the entries of one file to :class:`Model` objects (contract sections 3 and 4)."""

from __future__ import annotations

import difflib
import json
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, cast

from pytest_madengine.catalog.fields import GPU_FIELDS, KNOWN_FIELDS, plainly_valid
from pytest_madengine.catalog.model import Model
from pytest_madengine.catalog.problems import JsonError, Problem, catalog_error, entry_place
from pytest_madengine.errors import Warned
from pytest_madengine.util import jsontext
from pytest_madengine.util.text import UNSAFE

if TYPE_CHECKING:
    from pytest_madengine.catalog.schema import Entry

#: Characters no name and no tag may have: the reserved ones, control characters and invisible ones.
_FORBIDDEN: Final = re.compile(rf"[\\/:\t\n{UNSAFE}]")
_COUNT: Final = re.compile(r"-1|[0-9]{1,9}")
#: A path whose ``normpath`` is the path itself: saves most of the work in large files.
_NORMAL: Final = re.compile(r"(?:[^./\x00][^/\x00]*/)*[^./\x00][^/\x00]*")
#: Fields a model has as the entry has them.
_PLAIN_FIELDS: Final = frozenset(
    {
        "args",
        "training_precision",
        "owner",
        "url",
        "cred",
        "data",
        "timeout",
        "multiple_results",
        "skip_gpu_arch",
        "additional_docker_run_options",
        "distributed",
        "slurm",
        "log_error_pattern_scan",
    }
)
_RARE_FIELDS: Final = frozenset(
    {
        "dockercontext",
        "env_vars",
        "is_deprecated",
        "deprecated",
        "log_error_patterns",
        "log_error_benign_patterns",
    }
)
_DEFAULTS: Final[dict[str, Any]] = {
    entry.name: {} if entry.default_factory is not MISSING else entry.default for entry in fields(Model)
}


@dataclass(frozen=True)
class Origin:
    """Where entries come from."""

    #: File relative to the MAD root.
    source: str
    #: ``<dir>`` of ``scripts/<dir>``; empty for the root file.
    scope: str = ""
    dynamic: bool = False
    #: An image is given from outside (``MAD_CONTAINER_IMAGE``, ``--mad-use-image``): no Dockerfile needed.
    image_given: bool = False
    #: Before ``update_model()``: paths may be missing or wrong, they are not final.
    provisional: bool = False


@dataclass(frozen=True)
class Parsed:
    """The models of one file, and what looked wrong in it."""

    models: tuple[Model, ...]
    warnings: tuple[Warned, ...] = ()


def parse_json(data: bytes, source: str) -> object:
    """The JSON value of a file (UTF-8, a byte order mark is tolerated).

    :raises JsonError: naming file, line and column.
    """
    try:
        return jsontext.parse(data)
    except jsontext.JsonTextError as error:
        place = f" at line {error.line}, column {error.column}" if error.line else ""
        text = f"{source}: invalid JSON{place}: {error.reason}"
        raise JsonError(text, error.reason, error.line, error.column) from None


def build_models(entries: object, origin: Origin, *, positions: Sequence[int] | None = None) -> Parsed:
    """Checks all entries of one file and makes models of them.

    :param entries: the JSON value of the file: an array of objects.
    :param positions: index of each entry in its file, when ``entries`` is only a part of it.
    :raises CatalogError: a wrong type, a missing field, a reserved character, a duplicate, a path that
        leaves the MAD root; one error names all of them.
    """
    checked = _checked(entries, origin.source)
    assert isinstance(entries, Sequence)  # what validate() accepts
    builder = _Builder(origin)
    indices = positions if positions is not None else range(len(checked))
    for index, entry, raw in zip(indices, checked, entries, strict=True):
        builder.add(index, entry, raw)
    if builder.problems:
        by_index = dict(zip(indices, entries, strict=True))
        filled = [by_index.get(index) for index in range(max(by_index) + 1)]
        raise catalog_error(origin.source, builder.problems, filled)
    return Parsed(tuple(builder.models), builder.warnings())


def _checked(entries: object, source: str) -> list[Entry]:
    """The entries with checked types."""
    if plainly_valid(entries):
        return cast("list[Entry]", entries)
    from pytest_madengine.catalog.schema import validate

    return validate(entries, source)


def examine(entries: object, origin: Origin) -> tuple[list[Model], list[Problem]]:
    """Everything that is wrong with the entries of one file, and models of what is right about them.

    Nothing hides anything else: a field of a wrong type counts as absent, a model with a wrong field is made
    all the same, with an empty text for what it cannot have.  For ``lint``; runs take :func:`build_models`.
    """
    if plainly_valid(entries):
        problems = []
    else:
        from pytest_madengine.catalog.schema import type_problems

        problems = type_problems(entries)
    if not isinstance(entries, Sequence) or isinstance(entries, str):
        return [], problems
    wrong = {(problem.position, problem.field) for problem in problems}
    builder = _Builder(origin, lenient=True)
    for index, raw in enumerate(entries):
        if not isinstance(raw, Mapping):
            continue
        entry = {name: value for name, value in raw.items() if (index, name) not in wrong}
        builder.add(index, cast("Entry", entry), raw)
    kept = [problem for problem in builder.problems if (problem.position, problem.field) not in wrong]
    return builder.models, [*problems, *kept]


def model_from_manifest(entry: Mapping[str, Any], source: str) -> Model:
    """The model of a ``built_models`` block (contract 9.2): full name, paths already rewritten.

    :raises CatalogError: as for an entry of ``models.json``.
    """
    full_name = entry.get("name")
    scope, _, short = full_name.rpartition("/") if isinstance(full_name, str) else ("", "", full_name)
    parsed = build_models([{**entry, "name": short}], Origin(source, image_given=True))
    model = parsed.models[0]
    name = f"{scope}/{model.name}" if scope else model.name
    return replace(model, name=name, scope=scope, raw=dict(entry))


def rewrite(value: str, scope: str) -> str:
    """A path of an entry relative to the MAD root: ``normpath("scripts/<dir>/" + value)``."""
    path = f"scripts/{scope}/{value}" if scope else value
    return path if _NORMAL.fullmatch(path) else posixpath.normpath(path)


def text_of(value: str | float | bool) -> str:
    """A value of ``env_vars`` as text: a text as it is, numbers and booleans as JSON writes them."""
    return value if isinstance(value, str) else json.dumps(value)


def _model(values: Mapping[str, Any]) -> Model:
    """A model from the values of all its fields.

    The ``__init__`` of a frozen dataclass sets each of the thirty fields through ``object.__setattr__``;
    that is a quarter of the time a large file takes.
    """
    model = object.__new__(Model)
    vars(model).update(values)
    return model


@dataclass
class _Builder:
    """Collects the models, problems and unknown fields of one file."""

    origin: Origin
    #: Models with problems are made as well.
    lenient: bool = False
    models: list[Model] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    #: Values of the fields an entry does not have.
    _defaults: dict[str, Any] = field(init=False)
    _seen: dict[str, int] = field(default_factory=dict)
    #: What was worked out for an earlier entry: paths by text and scope, tags by their texts.
    _paths: dict[tuple[str, str], str] = field(default_factory=dict)
    _tag_sets: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    #: Unknown field -> place of its first entry and number of entries that have it.
    _unknown: dict[str, tuple[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        origin = self.origin
        common = {"source": origin.source, "scope": origin.scope, "dynamic": origin.dynamic}
        self._defaults = {**_DEFAULTS, **common}

    def add(self, index: int, entry: Entry, raw: Mapping[str, Any]) -> None:
        before = len(self.problems)
        if not entry.keys() <= KNOWN_FIELDS:
            self._note_unknown(index, entry)
        origin = self.origin
        # A plain dict of all fields: see _model().
        values = {**self._defaults, "index": index}
        for key, value in entry.items():
            if key in _PLAIN_FIELDS and value is not None:
                values[key] = value
        values["name"] = self._name(index, entry)
        values["scripts"] = self._path(index, "scripts", entry.get("scripts", ""), origin.scope)
        values["dockerfile"] = self._path(index, "dockerfile", entry.get("dockerfile", ""), origin.scope)
        values["n_gpus"] = self._gpus(index, entry)
        values["tags"] = self._tags(index, entry)
        if not _RARE_FIELDS.isdisjoint(entry):
            self._rare(index, entry, values)
        if not origin.provisional:
            self._require(index, entry, values)
        if len(self.problems) == before or self.lenient:
            values["raw"] = self._raw(raw, values)
            self.models.append(_model(values))

    def _raw(self, raw: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.origin.scope:
            return raw
        paths = {key: values[key] for key in ("dockerfile", "scripts") if key in raw}
        return {**raw, "name": values["name"], **paths}

    def _problem(self, index: int, name: str, text: str, kind: str) -> None:
        self.problems.append(Problem(index, f"field {name!r}: {text}", name, kind))

    def _name(self, index: int, entry: Entry) -> str:
        name = entry.get("name", "")
        if not name:
            self._problem(index, "name", "is missing or empty", "missing")
            return ""
        if _FORBIDDEN.search(name):
            text = r"must not contain '\', '/', ':' or control characters"
            self._problem(index, "name", text, "reserved")
        first = self._seen.setdefault(name, index)
        if first != index:
            self._problem(index, "name", f"duplicate, entry {first + 1} has the same name", "duplicate")
        return f"{self.origin.scope}/{name}" if self.origin.scope else name

    def _path(self, index: int, name: str, value: str, scope: str) -> str:
        if not value:
            return ""
        # Models share Dockerfiles and scripts.
        path = self._paths.get((value, scope))
        if path is None:
            path = self._paths[value, scope] = rewrite(value, scope)
        if "\0" in path:
            self._problem(index, name, "contains a NUL character", "path")
            path = ""
        elif path[0] in "./" and (path == ".." or path.startswith(("../", "/"))):
            if self.origin.provisional:
                return value
            self._problem(index, name, f"the path {value!r} leaves the MAD root", "path")
            path = ""
        return path

    def _gpus(self, index: int, entry: Entry) -> int:
        count: int | None = None
        for name in GPU_FIELDS:
            if name in entry:
                text = str(entry[name]).strip()
                if not _COUNT.fullmatch(text):
                    reason = f"should be -1 (all GPUs), 0 (none) or a count, not {text[:40]!r}"
                    self._problem(index, name, reason, "gpus")
                elif count is None:
                    count = int(text)
        return 1 if count is None else count

    def _tags(self, index: int, entry: Entry) -> tuple[str, ...]:
        given = entry.get("tags", ())
        texts = tuple(given.split(",") if isinstance(given, str) else given)
        # Models share sets of tags.
        tags = self._tag_sets.get(texts)
        if tags is None:
            tags = tuple(dict.fromkeys([stripped for text in texts if (stripped := text.strip())]))
            bad = next((tag for tag in tags if _FORBIDDEN.search(tag)), None)
            if bad is None:
                self._tag_sets[texts] = tags
            else:
                reason = r"must not contain '\', '/', ':' or control characters"
                self._problem(index, "tags", f"tag {bad!r} {reason}", "reserved")
        return tags

    def _rare(self, index: int, entry: Entry, values: dict[str, Any]) -> None:
        """Fields that most entries do not have."""
        values["dockercontext"] = self._path(index, "dockercontext", entry.get("dockercontext", ""), "")
        if "log_error_patterns" in entry:
            values["log_error_patterns"] = tuple(entry["log_error_patterns"])
        values["log_error_benign_patterns"] = tuple(entry.get("log_error_benign_patterns", ()))
        values["deprecated"] = entry.get("is_deprecated", False) or entry.get("deprecated", False)
        variables = entry.get("env_vars", {})
        for name in variables:
            if not name or "=" in name or "\0" in name:
                text = f"{name!r} is no name of an environment variable"
                self._problem(index, "env_vars", text, "variable")
        values["env_vars"] = {name: text_of(value) for name, value in variables.items()}

    def _require(self, index: int, entry: Entry, values: Mapping[str, Any]) -> None:
        if not values["scripts"] and not entry.get("scripts"):
            self._problem(index, "scripts", "is missing or empty", "missing")
        if not values["dockerfile"] and not entry.get("dockerfile") and not self.origin.image_given:
            image = str(entry.get("env_vars", {}).get("DOCKER_IMAGE_NAME", ""))
            if not image or (image.startswith("<") and image.endswith(">")):
                reason = "is missing or empty, and env_vars.DOCKER_IMAGE_NAME names no image"
                self._problem(index, "dockerfile", reason, "missing")

    def _note_unknown(self, index: int, entry: Entry) -> None:
        for name in entry.keys() - KNOWN_FIELDS:
            if name.startswith("_"):
                continue  # a comment
            place, count = self._unknown.get(name) or (entry_place(index, entry.get("name")), 0)
            self._unknown[name] = (place, count + 1)

    def warnings(self) -> tuple[Warned, ...]:
        """One warning per unknown field of the file, not one per entry."""
        found = []
        for name, (place, count) in sorted(self._unknown.items()):
            like = similar_field(name)
            # A subclass of CustomModel may declare fields for its own use.
            if self.origin.dynamic and not like:
                continue
            more = f" and {count - 1} more" if count > 1 else ""
            text = f"{self.origin.source}: {place}{more}: unknown field {name!r} has no effect"
            found.append(Warned(f"{text}; did you mean {like!r}?" if like else text, self.origin.source))
        return tuple(found)


def similar_field(name: str) -> str:
    """The known field a user may have meant: ``env`` is ``env_vars``."""
    lower = name.lower()
    candidates = sorted(KNOWN_FIELDS)
    if close := difflib.get_close_matches(lower, candidates, n=1, cutoff=0.7):
        return close[0]
    starting = [known for known in candidates if len(lower) >= 3 and known.startswith(lower)]
    return starting[0] if len(starting) == 1 else ""
