"""What a run log is searched for: metrics, error patterns, benign lines (contract 12.1, 12.2)."""

from __future__ import annotations

import re
from typing import Final

#: Every result line contains this text (case-sensitive).
PERFORMANCE: Final = "performance:"
#: Every fallback line contains this text (the summary of the Hugging Face trainer).
TRAINER: Final = "train_samples_per_second"
#: Metric name of a fallback value.
FALLBACK_METRIC: Final = "samples_per_second"

#: The ``performance:`` pattern of contract 12.1.  It accepts exactly what the contract's text accepts, but
#: no two neighbouring repetitions can share characters, so that a hostile 64 KiB line takes linear time.
PERFORMANCE_VALUE: Final = re.compile(
    r"performance:[ \t]*"
    r"(?P<value>[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:[eE][+-]?[0-9]+)?)"
    r"(?=$|[ \t/%A-Za-z]|,(?![0-9]))"
    r"(?:,?[ \t]*/[A-Za-z]+(?![A-Za-z])(?=[ \t]*(?:,[ \t]*)?[^\s,])[ \t]*,?|,)?"
    r"[ \t]*(?P<unit>[^\s,]+)?"
)
#: Used only when no ``performance:`` line has a value; the last match counts.
TRAINER_VALUE: Final = re.compile(r"train_samples_per_second['\"\s:=]+(?P<value>[0-9][0-9.,eE+-]*)")

#: Error patterns, literal, in the order in which they are looked for (contract 12.2).
DEFAULT: Final[tuple[str, ...]] = (
    "OutOfMemoryError",
    "HIP out of memory",
    "CUDA out of memory",
    "RuntimeError:",
    "AssertionError:",
    "ValueError:",
    "SystemExit",
    "failed (exitcode:",
    "Traceback (most recent call last)",
    "FAILED",
    "Exception:",
    "ImportError:",
    "ModuleNotFoundError:",
)

#: A line that contains one of these is no error, whatever else it says (contract 12.2).
BENIGN: Final[tuple[str, ...]] = (
    "Failed to establish connection to the metrics exporter agent",
    "RpcError: Running out of retries to initialize the metrics agent",
    "Metrics will not be exported",
    "FutureWarning",
    "Opened result file:",
    "SQLite3 generation ::",
    "rocpd_op:",
    "rpd_tracer:",
)
#: A line that matches one of these is no error either: messages of the ROCm profilers (contract 12.2).
BENIGN_REGEXES: Final[tuple[re.Pattern[str], ...]] = (
    re.compile(r"^E[0-9]{8}.*generateRocpd\.cpp"),
    re.compile(r"^W[0-9]{8}.*simple_timer\.cpp"),
    re.compile(r"^W[0-9]{8}.*generateRocpd\.cpp"),
    re.compile(r"^E[0-9]{8}.*tool\.cpp"),
    re.compile(r"\[rocprofv3\]"),
)
