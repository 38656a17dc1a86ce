"""Many texts looked for in one pass: what the redactor does with every byte of every log.

``find`` of Python is fast, but thirty secrets have some three hundred spellings, and as many passes over a
log cost more than all the rest.  A pattern of them all is no better: some spelling begins with nearly every
character.  So each spelling is found by a character in its middle that logs seldom have, and by the few that
follow it; what is found like that is then compared as a whole.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import AnyStr, Final, Generic

#: Up to as many needles one pass for each is faster.
_FEW: Final = 12
#: Characters of an anchor; at the end of a needle it may have fewer.
_MOST: Final = 4
_LEAST: Final = 2
#: Characters of logs, the most frequent first; all others are rarer.
_FREQUENT: Final = (
    " etaoinsrl0dcpmu1.g2h:f3,5y-46b/=8_97vwkxE|TAISRN()[]OLCDPM'\"%FUGB@#jHVWKqz{}<>+*XYJQZ&;$!?\\~^`"
)
_WEIGHTS: Final = {ord(char): (len(_FREQUENT) - place) ** 3 for place, char in enumerate(_FREQUENT)}


class Needles(Generic[AnyStr]):
    """Texts, or bytes, to look for; each has two characters at least."""

    def __init__(self, needles: Iterable[AnyStr]) -> None:
        self._needles: tuple[AnyStr, ...] = tuple(sorted(set(needles)))
        self._anchored: dict[AnyStr, list[tuple[AnyStr, int]]] = {}
        self._pattern: re.Pattern[AnyStr] | None = None
        if len(self._needles) > _FEW:
            self._anchored = _anchored(self._needles)
            self._lengths = sorted({*map(len, self._anchored)})
            self._pattern = _pattern(self._anchored)

    def spans(self, haystack: AnyStr) -> list[tuple[int, int]]:
        """Where the needles occur, in any order; occurrences may overlap."""
        if self._pattern is not None:
            return list(self._verified(haystack, self._pattern))
        return [span for needle in self._needles for span in _finds(haystack, needle)]

    def _verified(self, haystack: AnyStr, pattern: re.Pattern[AnyStr]) -> Iterator[tuple[int, int]]:
        for match in pattern.finditer(haystack):
            place = match.start()
            for length in self._lengths:
                anchor = haystack[place : place + length]
                if len(anchor) < length:
                    break
                for needle, offset in self._anchored.get(anchor, ()):
                    start = place - offset
                    if start >= 0 and haystack.startswith(needle, start):
                        yield start, start + len(needle)


def _finds(haystack: AnyStr, needle: AnyStr) -> Iterator[tuple[int, int]]:
    start = haystack.find(needle)
    while start >= 0:
        yield start, start + len(needle)
        start = haystack.find(needle, start + 1)


def _anchored(needles: tuple[AnyStr, ...]) -> dict[AnyStr, list[tuple[AnyStr, int]]]:
    """Each needle with the place of its anchor, by that anchor."""
    places = {needle: _places(needle) for needle in needles}
    first = _cover(places.values())
    found: dict[AnyStr, list[tuple[AnyStr, int]]] = defaultdict(list)
    for needle, codes in places.items():
        place = next(place for code, place in codes.items() if code in first)
        found[needle[place : place + _MOST]].append((needle, place))
    return dict(found)


def _places(needle: str | bytes) -> dict[int, int]:
    """Where an anchor may begin, by its first character; rare ones first."""
    codes = list(needle) if isinstance(needle, bytes) else list(map(ord, needle))
    # A short needle has too few characters to be choosy.
    length = _MOST if len(codes) >= 2 * _MOST else _LEAST
    places = {code: place for place, code in reversed(list(enumerate(codes[: len(codes) - length + 1])))}
    return dict(sorted(places.items(), key=lambda entry: (_weight(entry[0]), entry[1])))


def _cover(needles: Iterable[dict[int, int]]) -> set[int]:
    """Few and rare characters of which every needle has one."""
    left, chosen = list(needles), set[int]()
    while left:
        gain: dict[int, int] = defaultdict(int)
        for codes in left:
            for code in codes:
                gain[code] += 1
        best = max(gain, key=lambda code: (gain[code] / _weight(code), -code))
        chosen.add(best)
        left = [codes for codes in left if best not in codes]
    return chosen


def _weight(code: int) -> int:
    return _WEIGHTS.get(code, 1)


def _pattern(anchors: Iterable[AnyStr]) -> re.Pattern[AnyStr]:
    """The first character of an anchor before the rest of it; only the former is taken, as anchors overlap.

    Branches are tried one after the other: those of frequent characters come first.
    """
    rests: dict[AnyStr, list[AnyStr]] = defaultdict(list)
    for anchor in sorted(anchors, key=lambda anchor: (-_weight(ord(anchor[:1])), anchor)):
        rests[anchor[:1]].append(anchor[1:])
    bar, ahead, end = _marks(next(iter(rests)))
    parts = [re.escape(first) + ahead + bar.join(map(re.escape, ends)) + end for first, ends in rests.items()]
    return re.compile(bar.join(parts))


def _marks(like: AnyStr) -> tuple[AnyStr, AnyStr, AnyStr]:
    if isinstance(like, bytes):
        return b"|", b"(?=", b")"
    return "|", "(?=", ")"
