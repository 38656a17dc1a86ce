"""The gate for untrusted text."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_madengine.util import text

#: Texts that come near to what terminals understand.
PIECES = [
    "\x1b",
    "[",
    "]",
    "0;",
    "31m",
    "\x07",
    "\x1b\\",
    "(B",
    "\x9b",
    "\x9c",
    "\x0f",
    "\r",
    "\n",
    "a",
    "\u202e",
]
NASTY = st.one_of(st.text(st.characters()), st.lists(st.sampled_from(PIECES)).map("".join))
FUNCTIONS = [text.plain, text.visible, text.escaped, text.log_line, text.one_line, text.name, text.file_name]


@pytest.mark.parametrize("function", FUNCTIONS)
@given(given_text=NASTY)
def test_nothing_unsafe_is_left(function: object, given_text: str) -> None:
    """faults 1.14, 4.3: given any text / then every reader takes what comes out, and no terminal obeys."""
    assert callable(function)
    made: str = function(given_text)
    assert text.is_safe(made)
    assert not [char for char in made if unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\n"]
    assert not set(made) & set(
        "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\ufeff\u2028\u2029"
    )
    made.encode()
    element = ElementTree.Element("e", {"a": made})
    assert ElementTree.fromstring(ElementTree.tostring(element)).get("a") == made
    assert json.loads(json.dumps(made)) == made
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow([made, "x"])
    assert next(csv.reader(io.StringIO(buffer.getvalue(), newline=""))) == [made, "x"]
    assert function(made) == made


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])).filter(text.is_safe)
)
def test_other_texts_stay(given_text: str) -> None:
    assert text.plain(given_text) == text.visible(given_text) == text.log_line(given_text) == given_text


@given(NASTY)
@example("\x1b\x070")
@example("\x90a\x1b[mb\x9c")
def test_what_was_unstyled_stays(given_text: str) -> None:
    """faults 1.14: given sequences within sequences / then what is left of them makes no further sequence."""
    made = text.unstyled(given_text)
    assert text.unstyled(made) == made


def test_a_sequence_that_is_broken_off_takes_nothing_with_it() -> None:
    """faults 1.14: given an escape before an escape sequence, as after a cut line / then the digits stay."""
    assert text.unstyled("5\x1b\x1b[m0") == text.plain("5\x1b\x1b[m0") == "50"
    assert text.SEQUENCE_BYTES.sub(b"", b"5\x1b\x1b[m0") == b"50"


@given(NASTY)
def test_what_is_shown_hides_nothing(given_text: str) -> None:
    """A message shows every character that it was given, as itself or as an escape."""
    shown = text.visible(given_text)
    assert len(shown) >= len(given_text.replace("\r\n", "\n"))


def test_examples() -> None:
    assert (
        text.plain("a\x1b[1mb\x1b(B\x1b[m\x0f\x1b]0;title\x07\x1b]8;;u\x1b\\c\x9b0m\u202ed\x1b]x") == "abcdx"
    )
    assert text.visible("\x1b[31m\udcff\u202e\ud800\a") == "\\x1b[31m\\xff\\u202e\\ud800\\a"
    assert text.log_line("\x1b[32mok\x1b[0m \x01\x1b]0;pwned\x07") == "ok \\x1b]0;pwned"
    assert text.log_line("10%\r20%\r\x1b[K30%\r\n") == "30%\n"
    assert text.escaped("a\nb\tc") == "a\\nb\\tc"
    assert text.file_name("a\udcff/\u202eb c") == "a%FF%2F%E2%80%AEb c"
    assert text.one_line(" a\n b\x00 ", 6) == "a b\\x…"


def test_long_names_stay_apart() -> None:
    """Lengths: two long names are shortened and still two."""
    first, second = (text.name("x" * 300 + end) for end in "ab")
    assert first != second
    assert len(first) <= text.NAME_LIMIT


def test_a_long_hostile_text_costs_linear_time() -> None:
    """It ends at all (it took minutes when it was quadratic)."""
    for piece in ("\x1b]", "\x1b[", "\x90", "\x9d0;", "\x1b(", "\x9b"):
        assert text.is_safe(text.plain(piece * 300_000))
        assert text.SEQUENCE_BYTES.sub(b"", piece.encode() * 300_000) is not None
