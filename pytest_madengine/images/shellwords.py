"""Words, quotes and variables of Dockerfiles, by the rules of BuildKit's shell lexer.

They look like a shell's and differ in details: ``$$`` is an unset variable, an escape inside of double quotes
stays unless it stands before ``"``, ``$`` or itself, and blanks of a variable's value separate words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from pytest_madengine.images.wildcards import PatternError, replaced, without_prefix, without_suffix

#: Deepest nesting of ``${A:-${B:-...}}`` that is followed.
MAX_NESTING: Final = 50
_SPECIAL: Final = "@*#?-$!0"


class WordError(ValueError):
    """The engine would refuse this text, or it is nested too deeply to be followed."""


def expand(text: str, values: Mapping[str, str], escape: str = "\\") -> str:
    """The text with variables expanded and quotes and escapes removed; a variable not in ``values`` is unset.

    :raises WordError: the text is wrong, or a variable is required (``${A:?}``) and unset.
    """
    return _Lexer(text, values, escape).read()[0]


def words(
    text: str, *, escape: str = "\\", raw: bool = False, values: Mapping[str, str] | None = None
) -> list[str]:
    """The text split at blanks outside of quotes; empty words do not count.

    :param raw: keep quotes and escapes.
    :param values: variables; by default they stay as they are written.
    :raises WordError: the text is wrong.
    """
    return _Lexer(text, values, escape, raw).read()[1]


class _Words:
    def __init__(self) -> None:
        self._word: list[str] = []
        self._found: list[str] = []

    def add(self, text: str) -> None:
        """Text in which blanks separate words."""
        for character in text:
            if character.isspace():
                self._end()
            else:
                self._word.append(character)

    def add_raw(self, text: str) -> None:
        self._word.append(text)

    def all(self) -> list[str]:
        self._end()
        return self._found

    def _end(self) -> None:
        if word := "".join(self._word):
            self._found.append(word)
        self._word.clear()


class _Lexer:
    def __init__(self, text: str, values: Mapping[str, str] | None, escape: str, raw: bool = False) -> None:
        self._text = text
        self._values = values
        self._escape = escape
        self._raw = raw
        self._position = 0
        self._depth = 0

    def read(self) -> tuple[str, list[str]]:
        return self._until("", self._raw)

    # ---- characters ---------------------------------------------------------------------------------

    def _peek(self) -> str:
        """The next character; empty at the end."""
        return self._text[self._position : self._position + 1]

    def _next(self) -> str:
        character = self._peek()
        self._position += 1
        return character

    def _until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """Text and words up to a character, which is passed; up to the end without one."""
        if self._depth > MAX_NESTING:
            raise WordError("nested too deeply")
        self._depth += 1
        result: list[str] = []
        found = _Words()
        while character := self._peek():
            if character == stop:
                self._next()
                self._depth -= 1
                return "".join(result), found.all()
            if character == "$":
                part = self._dollar()
                found.add(part)
            elif character in "'\"":
                part = self._single() if character == "'" else self._double(raw_escapes)
                found.add_raw(part)
            elif character == "<":
                part = self._redirection()
                found.add_raw(part)
            elif character == self._escape:
                self._next()
                part = (character if raw_escapes else "") + self._next()
                found.add_raw(part)
            else:
                part = self._next()
                found.add(part)
            result.append(part)
        if stop:
            raise WordError(f"{stop!r} is missing")
        self._depth -= 1
        return "".join(result), found.all()

    def _redirection(self) -> str:
        """``<``, or ``<<`` with the blanks after it: they may stand before the delimiter, in one word."""
        start = self._position
        self._next()
        if self._peek() == "<":
            self._next()
            self._run(str.isspace)
        return self._text[start : self._position]

    def _single(self) -> str:
        end = self._text.find("'", self._position + 1)
        if end < 0:
            raise WordError("a single quote is not closed")
        start, self._position = self._position, end + 1
        return self._text[start : end + 1] if self._raw else self._text[start + 1 : end]

    def _double(self, raw_escapes: bool) -> str:
        self._next()
        result: list[str] = []
        while character := self._peek():
            if character == '"':
                self._next()
                text = "".join(result)
                return f'"{text}"' if self._raw else text
            if character == "$":
                result.append(self._dollar())
                continue
            self._next()
            if character == self._escape:
                if raw_escapes:
                    result.append(character)
                following = self._peek()
                if not following:
                    break
                if following in ('"', "$", self._escape):
                    character = self._next()
            result.append(character)
        raise WordError("a double quote is not closed")

    # ---- variables ----------------------------------------------------------------------------------

    def _dollar(self) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            return self._value(name, f"${name}") if name else "$"
        self._next()
        if self._peek() in ("", "{", "}", ":"):
            raise WordError("bad substitution")
        name = self._name()
        operator = self._next()
        if operator == "}":
            return self._value(name, f"${{{name}}}")
        if operator == "/":
            return self._replacement(name)
        null_is_unset = operator == ":"
        if null_is_unset:
            operator = self._next()
        if not operator or operator not in "+-?#%":
            raise WordError(f"unsupported modifier {operator!r} in substitution")
        word, _ = self._until("}", operator in "#%")
        if self._values is None:
            return f"${{{name}{':' if null_is_unset else ''}{operator}{word}}}"
        return self._modified(name, operator, word, null_is_unset)

    def _modified(self, name: str, operator: str, word: str, null_is_unset: bool) -> str:
        value = (self._values or {}).get(name)
        absent = value is None or (null_is_unset and not value)
        if operator == "-":
            return word if absent else value or ""
        if operator == "+":
            return "" if absent else word
        if operator == "?":
            if absent:
                raise WordError(f"{name}: {word or 'is not allowed to be unset'}")
            return value or ""
        greedy = word.startswith(operator)
        pattern = word[1:] if greedy else word
        strip = without_prefix if operator == "#" else without_suffix
        try:
            return strip(value or "", pattern, greedy=greedy)
        except PatternError as error:
            raise WordError(str(error)) from None

    def _replacement(self, name: str) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._next()
        pattern, _ = self._until("/", True)
        replacement, _ = self._until("}", True)
        if self._values is None:
            return f"${{{name}/{pattern}/{replacement}}}"
        try:
            return replaced(self._values.get(name, ""), pattern, replacement, everywhere=everywhere)
        except PatternError as error:
            raise WordError(str(error)) from None

    def _value(self, name: str, written: str) -> str:
        return written if self._values is None else self._values.get(name, "")

    def _name(self) -> str:
        first = self._peek()
        if first.isdecimal():
            return self._run(str.isdecimal)
        if first and first in _SPECIAL:
            return self._next()
        return self._run(lambda character: character.isalpha() or character.isdecimal() or character == "_")

    def _run(self, belongs: Callable[[str], bool]) -> str:
        start = self._position
        while (character := self._peek()) and belongs(character):
            self._position += 1
        return self._text[start : self._position]
