"""The verdicts of the gate, and which of several counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PASS: Final = "pass"
IMPROVED: Final = "improved"
REGRESSION: Final = "regression"
INCONCLUSIVE: Final = "inconclusive"
NO_BASELINE: Final = "no-baseline"
#: Internal: the run is suspicious and is to be measured once more.
RERUN: Final = "rerun"

#: The verdict of an item is the first of these that one of its metrics has.
ORDER: Final = (REGRESSION, INCONCLUSIVE, IMPROVED, PASS, NO_BASELINE)

# Reasons of an inconclusive verdict.
SPREAD: Final = "spread"
HISTORY: Final = "history"
LEVEL: Final = "level"
HOST: Final = "host"
BUDGET: Final = "budget"

# Reasons why there is no baseline.
TOO_FEW: Final = "too few runs"
UNKNOWN_DIRECTION: Final = "direction unknown"
NOT_A_NUMBER: Final = "not a number"

#: Reason of a verdict that a reference decided.
REFERENCE: Final = "reference"


def worst(words: Iterable[str]) -> str:
    """The verdict that counts among those of several metrics; ``no-baseline`` when there are none."""
    found = set(words)
    return next((word for word in ORDER if word in found), NO_BASELINE)
