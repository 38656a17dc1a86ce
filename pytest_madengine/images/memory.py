"""Results of builds that the processes of one session share, as JSON files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pytest_madengine.errors import BuildError, EngineError, MadError, PullError
from pytest_madengine.util import jsontext
from pytest_madengine.util.files import write_atomic

_KINDS: Final[Mapping[str, type[MadError]]] = {
    kind.__name__: kind for kind in (BuildError, PullError, EngineError)
}


@dataclass(frozen=True)
class Built:
    """An image that was built."""

    id: str
    names: tuple[str, ...] = ()
    docker_sha: str = ""
    #: Seconds.
    build_duration: float = 0.0
    #: UTC ISO-8601 with milliseconds.
    build_started: str = ""
    build_finished: str = ""
    build_log: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    #: For the record of every item that uses the image.
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failed:
    """A build that failed, already redacted."""

    kind: str
    message: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()
    infrastructure: bool = False
    build_log: str = ""

    def error(self) -> MadError:
        """The error as it was."""
        return _KINDS.get(self.kind, BuildError)(self.message, hint=self.hint, log_tail=self.log_tail)


def remember(path: Path, state: Built | Failed) -> None:
    """Writes the result of a build."""
    write_atomic(path, json.dumps({"ok": isinstance(state, Built), **dataclasses.asdict(state)}, indent=2))


def recall(path: Path) -> Built | Failed | None:
    """The result of an earlier build; ``None`` when there is none that can be read."""
    try:
        data: dict[str, Any] = jsontext.read(path)
        succeeded = data.pop("ok")
        for name in ("names", "log_tail", "warnings"):
            if name in data:
                data[name] = tuple(data[name])
        return Built(**data) if succeeded else Failed(**data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # never built, or written by another version: building again is always right


def forget(path: Path) -> None:
    """Removes the result of a build."""
    path.unlink(missing_ok=True)
