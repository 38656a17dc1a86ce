"""Line scanner of the run log: metrics, error patterns (contract 12.1, 12.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pytest_madengine.results.limits import METRICS
from pytest_madengine.results.lines import read_line, trainer_value
from pytest_madengine.results.patterns import (
    BENIGN,
    BENIGN_REGEXES,
    DEFAULT,
    PERFORMANCE,
    TRAINER,
)
from pytest_madengine.util.text import SEQUENCE_BYTES, plain

#: Bytes of a line that are scanned; what a longer line says after them is not seen.
LINE_LIMIT: Final = 64 * 1024
#: Matches of one metric that are kept in full; after them only the newest one and a count stay.
REPEATS_KEPT: Final = 1000

#: What a terminal takes for a command begins with one of these.
_CONTROLS: Final = (b"\x1b", b"\x07", b"\x0e", b"\x0f")
#: Texts that several error patterns share: looking for one of them costs less than for each pattern.
_STEMS: Final = ("Error", " out of memory")


@dataclass(frozen=True)
class LogFindings:
    """What the output of the run phase contained."""

    #: Valid ``performance:`` matches as (value, metric), in order of appearance, repeats included; of a
    #: metric with more than :data:`REPEATS_KEPT` matches the last entry is the newest one.
    performance: tuple[tuple[str, str], ...] = ()
    #: First line with ``performance:`` but no valid value.
    malformed: str = ""
    #: First error pattern on a line that is not benign, with its line number from 1.
    error_pattern: str = ""
    error_line: int = 0
    #: Last ``train_samples_per_second`` value (fallback); empty when there is a valid match.
    fallback: str = ""
    lines: int = 0
    #: Matches per metric that are not in ``performance`` (see :data:`REPEATS_KEPT`).
    left_out: Mapping[str, int] = field(default_factory=dict)
    #: First line with a number of which only a part could be read, or that could mean several.
    ambiguous: str = ""
    #: More distinct metrics than a run may report: what came after them was not read.
    too_many: bool = False


class LogScanner:
    """Scans the output of the run phase as it passes, in any chunking, with bounded memory.

    Lines end at ``\\n``, ``\\r\\n`` or ``\\r``; control sequences are removed, then invalid UTF-8 is
    replaced.  Only the first :data:`LINE_LIMIT` bytes of a line are scanned.  A chunk without any literal
    that could lead to a finding is only searched and its lines counted, never split.

    :param patterns: literal error patterns, the first one in this order wins within a line.
    :param benign: literals that make a line harmless, besides the built-in ones.
    :param scan_errors: False looks for metrics only (``log_error_pattern_scan``).
    """

    def __init__(
        self, patterns: Sequence[str] = DEFAULT, benign: Sequence[str] = (), scan_errors: bool = True
    ) -> None:
        # An empty text is part of every line: as a pattern or benign entry it can only be a mistake.
        self._patterns = tuple(filter(None, patterns)) if scan_errors else ()
        self._benign = (*BENIGN, *filter(None, benign))
        self._tail = bytearray()
        self._after_cr = False
        self._lines = 0
        self._performance: list[tuple[str, str]] = []
        self._seen: dict[str, tuple[int, int]] = {}
        self._malformed = ""
        self._error_pattern = ""
        self._error_line = 0
        self._fallback = ""
        self._ambiguous = self._ambiguous_fallback = ""
        self._too_many = False
        self._needles = self._active_needles()

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the log."""
        if not chunk:
            return
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._after_cr = chunk[-1:] == b"\r"
        newline = chunk.rfind(b"\n")
        cut = max(newline, chunk.rfind(b"\r", newline + 1)) + 1
        if cut:
            # Complete lines only: a literal is never looked for across a chunk boundary.
            self._block(bytes(self._tail) + chunk[:cut] if self._tail else chunk[:cut])
            self._tail.clear()
        self._tail += chunk[cut : cut + LINE_LIMIT - len(self._tail)]

    def findings(self) -> LogFindings:
        """What was found.  Ends the last line if it has no line ending yet."""
        if self._tail:
            self._block(bytes(self._tail))
            self._tail.clear()
        return LogFindings(
            performance=tuple(self._performance),
            malformed=self._malformed,
            error_pattern=self._error_pattern,
            error_line=self._error_line,
            fallback="" if self._performance else self._fallback,
            lines=self._lines,
            left_out={
                metric: count - REPEATS_KEPT
                for metric, (count, _) in self._seen.items()
                if count > REPEATS_KEPT
            },
            too_many=self._too_many,
            ambiguous=self._ambiguous or ("" if self._performance else self._ambiguous_fallback),
        )

    def _active_needles(self) -> tuple[bytes, ...]:
        """Literals of which at least one is in every line that can still add a finding."""
        needles = {PERFORMANCE.encode(): None}
        if not self._performance:
            needles[TRAINER.encode()] = None
        if not self._error_pattern:
            needles |= {_needle(pattern): None for pattern in self._patterns}
        return tuple(needles)

    def _block(self, block: bytes) -> None:
        """Complete lines; the last one may lack its ending."""
        searched = _without_sequences(block)
        hits = [needle for needle in self._needles if needle in searched]
        if hits:
            self._split(block, hits)
        else:
            self._lines += _count_lines(block)

    def _split(self, block: bytes, hits: list[bytes]) -> None:
        lines = block.splitlines()
        for number, raw in enumerate(lines, self._lines + 1):
            line = raw if len(raw) <= LINE_LIMIT else raw[:LINE_LIMIT]
            line = _without_sequences(line)
            for needle in hits:
                if needle in line:
                    self._line(number, plain(line.decode("utf-8", "replace")))
                    break
        self._lines += len(lines)

    def _line(self, number: int, text: str) -> None:
        if PERFORMANCE in text and not self._too_many:
            self._take_values(text)
        if not self._performance and TRAINER in text:
            self._take_fallback(text)
        if not self._error_pattern:
            self._look_for_error(number, text)

    def _take_values(self, text: str) -> None:
        line = read_line(text)
        if line.ambiguous:
            self._ambiguous = self._ambiguous or text.strip()
        elif not line.found and not line.trace:
            self._malformed = self._malformed or text.strip()
        if line.found:
            first = not self._performance
            for value, metric in line.found:
                self._keep(value, metric)
            if first:
                self._needles = self._active_needles()

    def _take_fallback(self, text: str) -> None:
        value, ambiguous = trainer_value(text)
        if value or ambiguous:
            self._fallback, self._ambiguous_fallback = value, text.strip() if ambiguous else ""

    def _keep(self, value: str, metric: str) -> None:
        count, slot = self._seen.get(metric, (0, 0))
        if not count and len(self._seen) >= METRICS:
            self._too_many = True
            return
        if count < REPEATS_KEPT:
            slot = len(self._performance)
            self._performance.append((value, metric))
        else:
            self._performance[slot] = (value, metric)
        self._seen[metric] = (count + 1, slot)

    def _look_for_error(self, number: int, text: str) -> None:
        pattern = next((pattern for pattern in self._patterns if pattern in text), "")
        if pattern and not self._is_benign(text):
            self._error_pattern, self._error_line = pattern, number
            self._needles = self._active_needles()

    def _is_benign(self, text: str) -> bool:
        return any(literal in text for literal in self._benign) or any(
            regex.search(text) for regex in BENIGN_REGEXES
        )


def _needle(pattern: str) -> bytes:
    """A literal that the bytes of every line with this pattern contain; empty when there is none."""
    stem = next((stem for stem in _STEMS if stem in pattern), pattern)
    # Replacement characters stand for unknown bytes, and escapes may belong to a removed sequence.
    return b"" if "\ufffd" in stem or "\x1b" in stem else stem.encode("utf-8", "surrogatepass")


def _without_sequences(data: bytes) -> bytes:
    if any(control in data for control in _CONTROLS):
        return SEQUENCE_BYTES.sub(b"", data)
    return data


def _count_lines(block: bytes) -> int:
    ends = block.count(b"\n")
    if b"\r" in block:
        ends += block.count(b"\r") - block.count(b"\r\n")
    return ends if block.endswith((b"\n", b"\r")) else ends + 1
