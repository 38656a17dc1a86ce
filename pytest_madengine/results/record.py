"""What happened in one item.  Everything written anywhere is a projection of a :class:`RunRecord`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeVar

from pytest_madengine.errors import RecordError
from pytest_madengine.results.readings import number
from pytest_madengine.util import jsontext

T = TypeVar("T")

#: Values in a record are nested at most so deeply; configurations (``results.configs``) have the same limit.
_DEPTH_LIMIT: Final = 120


class Outcome(str, Enum):
    """The one outcome of an item (contract section 1)."""

    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    SKIPPED = "SKIPPED"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Metric:
    """One measured value.  ``value`` is text as printed, so that nothing is lost to a float."""

    value: str
    name: str
    #: Row name of multiple results (``m_1`` of model ``m``); empty for a single result.
    row: str = ""
    outcome: Outcome = Outcome.SUCCESS
    #: Cells of a multiple_results row that replace perf.csv columns.
    overrides: Mapping[str, str] = field(default_factory=dict)
    #: Cells of a multiple_results row with other names.
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def number(self) -> float | None:
        """The value as a finite float, or ``None`` for text."""
        return number(self.value)


@dataclass(frozen=True)
class Attempt:
    """One try of an item (``--mad-retries``)."""

    outcome: Outcome
    reason: str
    phase: str
    started: str
    duration: float


@dataclass(frozen=True)
class RunRecord:
    """The complete result of one item.

    Durations in seconds, timestamps UTC ISO-8601.  ``columns`` holds the perf.csv cells that do not depend
    on a single metric, under their v2 names, as text; ``results.rows`` adds the others.
    """

    run_id: str
    item_id: str
    model: str
    outcome: Outcome
    reason: str = ""
    #: Phase that decided the outcome: collect, credentials, build, pull, data, lease, prepare, run, ...
    phase: str = ""
    metrics: tuple[Metric, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    #: The JSON value of ``--config`` in ``args`` (contract 12.6).
    configs: Any = None
    exit_code: int | None = None
    started: str = ""
    finished: str = ""
    #: Seconds per phase, e.g. ``{"build": 3.1, "prepare": 0.2, "run": 10.0}``.
    durations: Mapping[str, float] = field(default_factory=dict)
    #: Provenance: image name, id, digest, Dockerfile, git commit, ...
    image: Mapping[str, str] = field(default_factory=dict)
    #: Host and GPU facts: hostname, vendor, architecture, product, simulated, driver, ...
    host: Mapping[str, Any] = field(default_factory=dict)
    #: GPU indices that were leased, and when: ``{"gpus": [0, 1], "from": ..., "to": ...}``.
    lease: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[Mapping[str, Any], ...] = ()
    #: Paths relative to the results directory of the session.
    artifacts: tuple[str, ...] = ()
    log_file: str = ""
    log_tail: tuple[str, ...] = ()
    hint: str = ""
    warnings: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    fingerprint: str = ""
    gate: Mapping[str, Any] = field(default_factory=dict)
    #: What the item contributes to a build manifest (``images.manifest_writer.BuildReport``).
    build: Mapping[str, Any] = field(default_factory=dict)
    #: Marks a failure of the machine or a service, not of the model.
    infrastructure: bool = False
    #: SKIPPED because this host does not have the GPUs that the item needs.
    lacks_hardware: bool = False
    #: Session whose SUCCESS made this item be skipped (``--mad-resume``).
    resumed_from: str = ""
    #: Hash of everything that reached the run (``resumekey``); empty: it is never resumed from.
    resume_key: str = ""
    #: A worker node of a multi-node job has no row (contract 12.2), nor has a resumed item.
    has_row: bool = True

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; for the test report (xdist), the journal and ``record.json``."""
        result: dict[str, Any] = json.loads(json.dumps(_fields(self), default=_fields))
        return result

    @classmethod
    def from_dict(cls, data: Any) -> RunRecord:
        """The inverse of :meth:`to_dict`; unknown keys of a newer version are ignored.

        :raises RecordError: the value is not a record: a field is missing or has another type.
        """
        return _typed(cls, data, "record")

    @classmethod
    def from_json(cls, line: str | bytes) -> RunRecord:
        """A record from a line of a file of ours, whatever became of it.

        :raises RecordError: the line is no JSON, or holds something else than a record.
        """
        return cls.from_dict(json_of(line))


def _fields(value: Any) -> Any:
    """A dataclass as an object, anything else without a JSON type as text; no copies: there are thousands."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return str(value)


def json_of(line: str | bytes) -> Any:
    """The value of a line of a file of ours: records.jsonl, a journal, record.json.

    :raises RecordError: it is no JSON.
    """
    try:
        return jsontext.parse(line, max_depth=_DEPTH_LIMIT + 10, constants=True)
    except jsontext.JsonTextError as error:
        raise RecordError(f"not JSON: {error}") from None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("a text")


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError("true or false")


def _number(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    raise TypeError("a number")


def _exit_code(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise TypeError("a whole number or null")


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_text, _list(value)))


def _list(value: Any) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    raise TypeError("a list")


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        for entry in value.values():
            _shallow(entry)
        return value
    raise TypeError("an object")


def _shallow(value: Any) -> Any:
    """The value, unless it is nested so deeply that copying or printing it would fail."""
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    level = [value]
    for _ in range(_DEPTH_LIMIT):
        level = [part for entry in level for part in _parts(entry)]
        if not level:
            return value
    raise TypeError(f"nested less than {_DEPTH_LIMIT} times")


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def _text_object(value: Any) -> Mapping[str, str]:
    if isinstance(value, Mapping) and all(isinstance(entry, str) for entry in value.values()):
        return value
    raise TypeError("an object of texts")


def _number_object(value: Any) -> Mapping[str, float]:
    if isinstance(value, Mapping):
        for entry in value.values():
            _number(entry)
        return value
    raise TypeError("an object of numbers")


def _outcome(value: Any) -> Outcome:
    try:
        return Outcome(value)
    except ValueError:
        raise TypeError("SUCCESS, FAILURE or SKIPPED") from None


#: Reads a JSON value by the annotation of its field: the value, or ``TypeError`` with what it is not.
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "str": _text,
    "bool": _boolean,
    "float": _number,
    "int | None": _exit_code,
    "Any": lambda value: _shallow(value),
    "Outcome": _outcome,
    "tuple[str, ...]": _texts,
    "Mapping[str, str]": _text_object,
    "Mapping[str, float]": _number_object,
    "Mapping[str, Any]": _object,
    "tuple[Mapping[str, Any], ...]": lambda value: tuple(map(_object, _list(value))),
    "tuple[Metric, ...]": lambda value: tuple(_typed(Metric, entry, "metric") for entry in _list(value)),
    "tuple[Attempt, ...]": lambda value: tuple(_typed(Attempt, entry, "attempt") for entry in _list(value)),
}
_NOTHING: Final = object()


def _typed(cls: type[T], data: Any, what: str) -> T:
    """An instance of a dataclass of this module from JSON.

    :raises RecordError: a field is missing or has another type.
    """
    if not isinstance(data, Mapping):
        raise RecordError(f"a {what} is an object, not {type(data).__name__}")
    values = {}
    for one in dataclasses.fields(cls):  # type: ignore[arg-type]
        value = data.get(one.name, _NOTHING)
        if value is _NOTHING:
            if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
                raise RecordError(f"{what}: {one.name} is missing")
            continue
        try:
            values[one.name] = _READERS[str(one.type)](value)
        except TypeError as error:
            raise RecordError(f"{what}: {one.name} is not {error}") from None
    return cls(**values)
