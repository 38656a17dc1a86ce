"""Line scanner of the run log: metrics, error patterns (contract 12.1, 12.2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LogFindings:
    """What the output of the run phase contained."""

    #: Valid ``performance:`` matches as (value, metric), in order of appearance, repeats included.
    performance: tuple[tuple[str, str], ...] = ()
    #: First line with ``performance:`` but no valid value.
    malformed: str = ""
    #: First error pattern on a line that is not benign, with its line number from 1.
    error_pattern: str = ""
    error_line: int = 0
    #: Last ``train_samples_per_second`` value (fallback).
    fallback: str = ""
    lines: int = 0
