"""How much one run may report.  Above a limit it is refused with a reason, not cut in silence."""

from __future__ import annotations

from typing import Final

#: Distinct metrics of a log, rows of a results file, metrics of a hook.
METRICS: Final = 10_000
