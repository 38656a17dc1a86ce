"""Patterns of ``${V#...}``, ``${V%...}`` and ``${V/.../...}`` in Dockerfiles: ``*``, ``?`` and text.

Matching follows sets of positions, so that its time is bounded whatever the pattern: a regular expression
with several stars could try for years.
"""

from __future__ import annotations

from typing import Final

#: Longest value and pattern that are matched, in characters.
MAX_VALUE: Final = 4096
MAX_PATTERN: Final = 256
#: In place of a character: any number of characters, and any one.
_STAR: Final = ""
_ANY: Final = "any"


class PatternError(ValueError):
    """The engine refuses the pattern, or it is too long to be followed."""


def without_prefix(value: str, pattern: str, *, greedy: bool) -> str:
    """``${V#pattern}``; greedy is ``${V##pattern}``."""
    end = _Matcher(value).end(_parsed(pattern, value), 0, longest=greedy)
    return value if end is None else value[end:]


def without_suffix(value: str, pattern: str, *, greedy: bool) -> str:
    """``${V%pattern}``; greedy is ``${V%%pattern}``."""
    end = _Matcher(value[::-1]).end(_parsed(pattern, value)[::-1], 0, longest=greedy)
    return value if end is None else value[: len(value) - end]


def replaced(value: str, pattern: str, replacement: str, *, everywhere: bool) -> str:
    """``${V/pattern/replacement}``; everywhere is ``${V//pattern/replacement}``."""
    tokens, matcher = _parsed(pattern, value), _Matcher(value)
    result: list[str] = []
    position, previous = 0, -1
    while position <= len(value):
        end = matcher.end(tokens, position, longest=True)
        if end is None or end == position == previous:
            result.append(value[position : position + 1])
            position += 1
            continue
        result.append(replacement)
        if not everywhere:
            return "".join(result) + value[end:]
        if end == position:  # nothing was matched: the character after it stays
            result.append(value[position : position + 1])
            end += 1
        position = previous = end
    return "".join(result)


def _parsed(pattern: str, value: str) -> list[str]:
    if len(pattern) > MAX_PATTERN or len(value) > MAX_VALUE:
        raise PatternError("the pattern or the value is too long")
    tokens = []
    characters = iter(pattern)
    for character in characters:
        if character == "*":
            tokens.append(_STAR)
        elif character == "?":
            tokens.append(_ANY)
        elif character == "\\":
            escaped = next(characters, "")
            if not escaped or escaped not in "*?\\}/":
                raise PatternError(f"invalid escape '\\{escaped}'")
            tokens.append(escaped)
        else:
            tokens.append(character)
    return tokens


class _Matcher:
    """Where in a value patterns can end.  Sets of positions are the bits of a number."""

    def __init__(self, value: str) -> None:
        self._all = (1 << (len(value) + 1)) - 1
        self._places: dict[str, int] = {_ANY: self._all >> 1}
        for position, character in enumerate(value):
            self._places[character] = self._places.get(character, 0) | 1 << position

    def end(self, tokens: list[str], start: int, *, longest: bool) -> int | None:
        """The shortest or longest match from a position; ``None`` without one."""
        positions = 1 << start
        for token in tokens:
            if token == _STAR:
                positions = self._all & ~((positions & -positions) - 1)
            else:
                positions = (positions & self._places.get(token, 0)) << 1
            if not positions:
                return None
        return (positions.bit_length() if longest else (positions & -positions).bit_length()) - 1
