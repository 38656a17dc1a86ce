"""The one gate for text that others wrote: what it may hold when it reaches a terminal, a report or a file.

Models print what they like, and names, reasons and errors repeat it.  A control character takes over a
terminal, makes an XML file unreadable or lets one name pass for another.  Every output uses the functions of
this module and has no cleaner of its own:

* :func:`plain` for data (metrics, cells): what a terminal would show of it;
* :func:`visible` for messages: control characters are shown as escapes, so that nothing is hidden;
* :func:`log_line` for lines of a log: without colours, the rest as in messages;
* :func:`file_name` for names of files; :func:`one_line` and :func:`clip` for what has little room.
"""

from __future__ import annotations

import re
from typing import Any, Final

from pytest_madengine.util.names import shortened

#: Characters of the name of a metric or of a row.
NAME_LIMIT: Final = 200
#: Characters of a reason, a hint, a warning, and of a line of a log.
MESSAGE_LIMIT: Final = 4000
LINE_LIMIT: Final = 2000
#: Characters of a cell: spreadsheets take no more.
CELL_LIMIT: Final = 32_767

#: What is neither shown nor a blank, tab and line feed excepted: C0, DEL, C1, soft hyphen, joiners, marks and
#: overrides of the writing direction, other invisible format characters, line and paragraph separators,
#: halves of surrogate pairs, and code points that are no characters (XML refuses some of them).
UNSAFE: Final = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    + "".join(f"{chr((plane << 16) | 0xFFFE)}{chr((plane << 16) | 0xFFFF)}" for plane in range(1, 17))
)
_UNSAFE: Final = re.compile(f"[{UNSAFE}]")
#: Escape sequences by their grammar (ECMA-48); a string (OSC, DCS, SOS, PM, APC) ends with BEL or ST.  One
#: without an end is only its beginning: a terminal would wait for the end, and nobody wants to lose a line.
_CSI: Final = r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
_STRING: Final = r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90-\x9f\r\n]*(?:\x07|\x1b\\|\x9c)"
#: An escape breaks off a sequence that an escape began.
_SHORT: Final = r"\x1b[ -/]*(?:[0-~]|(?=\x1b))"
_SEQUENCE: Final = re.compile(f"{_CSI}|{_STRING}|{_SHORT}")
#: The same for bytes.  C1 controls in UTF-8 have two bytes; as single bytes they are parts of letters.
SEQUENCE_BYTES: Final = re.compile(
    rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b\r\n]*(?:\x07|\x1b\\)"
    rb"|\x1b[ -/]*(?:[0-~]|(?=\x1b))|[\x07\x0e\x0f]"
)
#: Sequences that say nothing: colours, erasing to the end of the line, character sets, shifts.
_STYLE: Final = re.compile(r"(?:\x1b\[|\x9b)[0-9;:]*[mK]|\x1b[()*+][0-~]|[\x0e\x0f]")
#: Control characters that alone do nothing, or ring.
_NOISE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")
#: What is left of sequences within sequences may be another one: so often it is looked for.
_TIMES: Final = 4
_RINGS: Final = re.compile(r"[\x07\x0e\x0f]")
_NAMED: Final = {"\r": "\\r", "\x0b": "\\v", "\x0c": "\\f", "\x07": "\\a", "\x08": "\\b"}
_NO_FILE: Final = re.compile(f"[{UNSAFE}\t\n/]")


def is_safe(text: str) -> bool:
    """True when no output would change the text."""
    return _UNSAFE.search(text) is None


def plain(text: str) -> str:
    """What a terminal shows of a text: escape sequences and control characters are gone."""
    if is_safe(text):
        return text
    return _UNSAFE.sub("", _SEQUENCE.sub("", text))


def unstyled(text: str) -> str:
    """The text without escape sequences and bells; other control characters stay, for those who judge."""
    if is_safe(text):
        return text
    for _ in range(_TIMES):
        clean = _RINGS.sub("", _SEQUENCE.sub("", text))
        if clean == text:
            return clean
        text = clean
    return plain(text)


def visible(text: str) -> str:
    """The text with every unsafe character as an escape, e.g. ``\\x1b``; tabs and line feeds stay."""
    return text if is_safe(text) else _UNSAFE.sub(_escape, text.replace("\r\n", "\n"))


def escaped(text: str) -> str:
    """As :func:`visible`, tabs and line feeds too: a text that stays on its line as it is."""
    return visible(text).replace("\t", "\\t").replace("\n", "\\n")


def log_line(text: str) -> str:
    """A line of a log: without colours and bells; commands for a terminal, and what could deceive, are shown.

    Of a line that was written over several times it is the last state.
    """
    if is_safe(text):
        return text
    return "\n".join(map(_last_state, _STYLE.sub("", text).replace("\r\n", "\n").split("\n")))


def file_name(name: str) -> str:
    """The name of a file with unsafe characters as ``%XX``; names that are safe stay as they are."""
    return _NO_FILE.sub(_percent, name)


def one_line(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """A message on one line: every run of blanks is one blank."""
    return clip(visible(" ".join(text.split())), limit)


def clip(text: str, limit: int) -> str:
    """The text, or its beginning with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def name(text: str) -> str:
    """A metric's or a row's name: plain, on one line; a hash keeps two long names apart."""
    short = " ".join(plain(text).split())
    return shortened(short, NAME_LIMIT, joint="…-", strip="")


def tree(value: Any, change: Any, change_key: Any = visible) -> Any:
    """A tree of JSON values with every text changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change_key(str(key)): tree(part, change, change_key) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [tree(part, change, change_key) for part in value]
    return value


def _last_state(line: str) -> str:
    """What a progress line shows at its end: every return of the carriage wrote it anew."""
    parts = [part for part in line.split("\r") if part.strip()]
    return visible(_NOISE.sub("", parts[-1] if parts else ""))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in _NAMED:
        return _NAMED[match[0]]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _percent(match: re.Match[str]) -> str:
    try:
        data = match[0].encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        data = match[0].encode("utf-8", "surrogatepass")
    return "".join(f"%{byte:02X}" for byte in data)
