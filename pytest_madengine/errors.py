"""The one exception hierarchy of the package.

Every message is one line that a user understands: what is wrong, where, what to do.  Front ends turn
:class:`ConfigError` into ``pytest.UsageError`` (exit status 4) and every other :class:`MadError` into a
failed item with a FAILURE record; only a bug shows a traceback.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class MadError(Exception):
    """Base of all errors of pytest-madengine.

    :param message: what is wrong and where, in one line.
    :param hint: what the user can do about it, in one line; may be empty.
    :param log_tail: last lines of a log that explains the error; may be empty.
    """

    #: Phase of an item in which this error arises: ``collect``, ``context``, ``credentials``, ``build``,
    #: ``pull``, ``data``, ``lease``, ``prepare``, ``run``, ``collect-results``, ``gate``.
    phase: ClassVar[str] = "setup"
    #: True when the machine or a service failed, not the model: only these may be retried silently.
    infrastructure: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.log_tail = log_tail


class ConfigError(MadError):
    """A wrong option, selector, context or file of the user: nothing runs (exit status 4)."""

    phase = "configure"


class SelectorError(ConfigError):
    """A selector that is malformed, matches nothing or is ambiguous."""


class ContextError(ConfigError):
    """An additional context that cannot be read or has values of the wrong type."""


class FixtureError(MadError):
    """A fixture that a conftest overrides gives something else than it must."""


class RecordError(MadError):
    """A JSON value that is not a record of ours, though a file of ours holds it."""


class CatalogError(MadError):
    """A MAD repository file that cannot be read: models.json, get_models_json.py."""

    phase = "collect"


class DockerfileError(MadError):
    """No Dockerfile of a model matches, or its CONTEXT line is wrong: an error of that model only."""

    phase = "build"


class CredentialError(MadError):
    """A credential a model needs is missing or malformed."""

    phase = "credentials"


class DataError(MadError):
    """Data of a model cannot be provided."""

    phase = "data"


class PlanError(MadError):
    """A run cannot be planned: unknown docker flag, too many GPUs, missing mount source, ..."""

    phase = "plan"


class LeaseError(MadError):
    """GPUs cannot be leased."""

    phase = "lease"


class BuildError(MadError):
    """``docker build`` failed."""

    phase = "build"


class EngineError(MadError):
    """The container engine is absent, refuses us or broke off."""

    phase = "engine"
    infrastructure = True


class PullError(EngineError):
    """An image cannot be pulled or pushed."""

    phase = "pull"


class ImageError(MadError):
    """An image is not the one that was recorded, or was not handed over."""

    phase = "pull"


class RunError(MadError):
    """The model's run failed: exit status, timeout, error pattern, killed for memory."""

    phase = "run"


class ResultError(MadError):
    """The run ended well but left no usable result, or a result file cannot be written or read."""

    phase = "results"


class HistoryError(MadError):
    """A database is down, refuses us or holds something else; the hint is the command to repeat later."""

    phase = "history"
    infrastructure = True


class GateError(MadError):
    """Performance could not be judged although it must be; the run itself is a SUCCESS."""

    phase = "gate"


class PerformanceRegression(GateError):  # noqa: N818 - the name that CI systems show
    """A run is worse than its history or its reference; the run itself is a SUCCESS."""


@dataclass(frozen=True)
class Warned:
    """A warning with its place, shown once per session."""

    message: str
    file: str = ""
