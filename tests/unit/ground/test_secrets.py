"""The redactor and the typed secret (contract 14.2)."""

from __future__ import annotations

import base64
import copy
import html
import json
import os
import pickle
import re
import subprocess
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_madengine.secrets import MASK, MIN_LENGTH, Redactor, Secret, is_secret, is_secret_name, reveal

#: Any text, lone surrogates included: contexts are JSON, which can spell them.
ANY_TEXT = st.text(st.characters())
#: Values worth searching for, without the characters of the mask.
SECRET_TEXT = st.text(st.characters(exclude_characters="*"), min_size=MIN_LENGTH, max_size=40).filter(
    lambda text: text.strip() and not re.fullmatch(r"[-+.\d]+|[A-Z]?[a-z]+|[A-Z]+|true|false|none|null", text)
)
#: What can stand around a secret without being part of one.
FILLER = st.text(alphabet="-\u00b7", max_size=20)


class TestSecret:
    def test_is_not_shown_by_any_conversion(self) -> None:
        secret = Secret("hunter22")
        shown = [
            str(secret),
            repr(secret),
            f"{secret}",
            str([secret]),
            f"{secret!r}",
        ]
        assert not any("hunter22" in text for text in shown)
        assert str(secret) == MASK

    def test_reveals_its_value_when_asked(self) -> None:
        assert Secret("hunter22").reveal() == "hunter22"
        assert reveal(Secret("hunter22")) == reveal("hunter22") == "hunter22"

    def test_equals_by_value_and_never_a_plain_text(self) -> None:
        assert Secret("a") == Secret("a")
        assert Secret("a") != Secret("b")
        assert Secret("a") != "a"
        assert len({Secret("a"), Secret("a"), Secret("b")}) == 2

    def test_cannot_be_pickled(self) -> None:
        with pytest.raises(TypeError, match="must not leave this process"):
            pickle.dumps(Secret("hunter22"))

    def test_a_value_that_holds_it_can_be_copied(self) -> None:
        holder = {"key": [Secret("hunter22")]}
        assert copy.deepcopy(holder) == holder
        assert copy.copy(holder["key"][0]) is holder["key"][0]


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "my_secret",
        "mad_secret",
        "DB_PASSWORD",
        "passwd",
        "API_KEY",
        "apikey",
        "Credential",
        "SSH_PRIVATE_KEY",
        "MAD_SECRETS_X",
        "X_MAD_SECRETS",
    ],
)
def test_secret_names(name: str) -> None:
    """Contract 14.2: variables whose name says that the value is secret."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["PATH", "KEY", "BATCH_SIZE", "PASS", ""])
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


VALUE = 'p@ss/w+rd ü"\\'
RAW = VALUE.encode()


class TestForms:
    @pytest.mark.parametrize(
        "form",
        [
            pytest.param(VALUE, id="itself"),
            pytest.param(quote(VALUE, safe=""), id="url-encoded"),
            pytest.param(quote(VALUE), id="url-encoded-path"),
            pytest.param(quote_plus(VALUE), id="url-encoded-query"),
            pytest.param("p%40ss%2fw%2brd%20%c3%bc%22%5c", id="url-encoded-lower-case"),
            pytest.param(base64.b64encode(RAW).decode(), id="base64"),
            pytest.param(base64.urlsafe_b64encode(RAW).decode(), id="base64-url"),
            pytest.param(base64.b64encode(RAW).decode().rstrip("="), id="base64-unpadded"),
            pytest.param(json.dumps(VALUE)[1:-1], id="json"),
            pytest.param(json.dumps(VALUE, ensure_ascii=False)[1:-1], id="json-unicode"),
        ],
    )
    def test_every_form_of_a_value_is_masked(self, form: str) -> None:
        """Contract 14.2, row "forms"."""
        redactor = Redactor([Secret(VALUE)])
        assert redactor.text(f"<{form}>").rstrip("=>") == f"<{MASK}"
        assert redactor.data(f"<{form}>".encode()).rstrip(b"=>") == f"<{MASK}".encode()

    @pytest.mark.parametrize("value", ["", "abc", "a b", "    ", "\n\t\n\t\n"])
    def test_short_and_blank_values_are_not_searched_for(self, value: str) -> None:
        redactor = Redactor([value])
        text = f"x{value}    abc a b YWJj\n\t\n\t\n"
        assert redactor.text(text) == text
        assert redactor.longest == 0

    def test_lines_of_a_value_are_secret_too(self) -> None:
        key = "-----BEGIN KEY-----\n  line-one\r\nline-two\nend\n"
        redactor = Redactor([key])
        assert redactor.text("a line-one b line-two c end") == f"a {MASK} b {MASK} c end"
        assert redactor.text(f"({key})") == f"({MASK})"
        assert redactor.text(json.dumps({"key": key})) == json.dumps({"key": MASK})

    def test_values_may_be_added_later(self) -> None:
        redactor = Redactor()
        assert redactor.text("first second") == "first second"
        redactor.add("first")
        redactor.add(Secret("second"), "first")
        assert redactor.text("first second") == f"{MASK} {MASK}"

    def test_longest_counts_the_bytes_of_the_longest_form(self) -> None:
        redactor = Redactor(["abcd", "üüüü"])
        assert redactor.longest == len(r"\303\274" * 4)

    @pytest.mark.parametrize("value", ["\udc80\udcff-latin", "\ud800-lone", "\udc80\ud800-both"])
    def test_values_that_are_no_utf8_are_masked(self, value: str) -> None:
        assert Redactor([value]).text(f"a{value}b") == f"a{MASK}b"

    def test_bytes_that_were_no_utf8_are_masked_in_a_stream(self) -> None:
        raw = b"\xfc\xe4-latin"
        assert Redactor([raw.decode("utf-8", "surrogateescape")]).data(b"a" + raw + b"b") == b"a***b"


SHELL_VALUES = ['p@ss/w+rd ü"\\', "it's #1,{~a", "tab\there9", "~x:~y#z!w^=~q", "#first-one", "a'b c$d`e"]


class TestSpellings:
    @pytest.mark.parametrize("value", SHELL_VALUES)
    @pytest.mark.parametrize("spelling", ["printf %q", "@Q", "set -x"])
    @pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
    def test_what_a_shell_makes_of_it_is_masked(self, value: str, spelling: str, locale: str) -> None:
        """faults 4.1: given a secret / when bash quotes it / then nothing of it is left."""
        script = {"printf %q": 'printf %q "$V"', "@Q": 'echo "${V@Q}"', "set -x": 'set -x; : "$V"'}[spelling]
        done = subprocess.run(
            ["bash", "-c", script],
            env={"V": value, "LC_ALL": locale, "PATH": os.environ["PATH"]},
            capture_output=True,
            check=True,
        )
        printed = (done.stdout or done.stderr).strip()
        redacted = Redactor([value]).data(printed)
        assert redacted.removeprefix(b"+ : ").strip(b"$'") == MASK.encode()

    @pytest.mark.parametrize("user", ["", "u", "me", "bob", "user", "x" * 50])
    @pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
    @pytest.mark.parametrize("secret", ["hunter22", "p@ss/w+rd ü?>~~", "123456789"])
    def test_a_basic_header_is_masked(self, user: str, encode: Callable[[bytes], bytes], secret: str) -> None:
        """faults 4.1: given base64 of user:secret / when redacted / then nothing can be read from it."""
        header = encode(f"{user}:{secret}\n".encode()).decode()
        redacted = Redactor([secret]).text(f"Authorization: Basic {header}")
        kept = redacted.partition("Basic ")[2].split(MASK)
        assert len(kept) == 2
        assert len(kept[1]) <= 4  # the end of the last character and the line feed
        assert secret[:2] not in base64.urlsafe_b64decode(kept[0][: len(kept[0]) // 4 * 4]).decode("latin-1")

    @pytest.mark.parametrize("change", [str.upper, str.lower, lambda v: v.encode().hex(), html.escape, repr])
    def test_other_spellings_are_masked(self, change: Callable[[str], str]) -> None:
        """faults 4.1: upper case, lower case, hexadecimal, HTML and Python."""
        secret = "Hunter22<&'x"
        assert Redactor([secret]).text(change(secret)).strip("'\"") == MASK
        assert Redactor([secret]).text(secret.encode().hex().upper()) == MASK

    def test_digits_are_masked_from_six_on_and_only_as_a_whole_number(self) -> None:
        """faults 4.1: given a six-digit secret / then it is masked, and not inside other numbers."""
        redactor = Redactor(["123456", "98765"])
        assert redactor.text("pin=123456 id123456x") == f"pin={MASK} id{MASK}x"
        kept = "1123456 123456.5 0.123456 1234567 98765"
        assert redactor.text(kept) == kept
        assert redactor.data(kept.encode()) == kept.encode()

    @pytest.mark.parametrize("word", ["token", "password", "Secret", "TOKEN"])
    def test_a_word_is_masked_as_a_whole_word(self, word: str) -> None:
        """faults 4.2: given a credential value that is a word / then other words keep it."""
        redactor = Redactor([word])
        assert redactor.text(f"{word} x={word}, ({word})") == f"{MASK} x={MASK}, ({MASK})"
        kept = f"{word}s_per_second {word}_x my{word} {word}1"
        assert redactor.text(kept) == kept
        assert redactor.data(kept.encode()) == kept.encode()
        assert redactor.name(f"{word}/s") == f"{word}/s"

    def test_a_name_keeps_words_and_numbers_but_no_other_secret(self) -> None:
        """faults 4.2: never inside a metric's name."""
        redactor = Redactor(["token", "100000", "hunter22"])
        assert redactor.name("token 100000 hunter22/s") == f"token 100000 {MASK}/s"

    @pytest.mark.parametrize(
        ("name", "value", "secret"),
        [
            ("HF_TOKEN", "123456", True),
            ("MAX_TOKENS", "131072", False),
            ("MAX_NUM_BATCHED_TOKENS", "131072", False),
            ("max_token_len", "131072", False),
            ("MAX_TOKENS", "hunter22", True),
            ("PATH", "hunter22", False),
        ],
    )
    def test_a_count_of_tokens_is_no_secret(self, name: str, value: str, secret: bool) -> None:
        """faults 4.1: given digits of six and more / then counts of language models stay readable."""
        assert is_secret(name, value) is secret


class TestOverlaps:
    @pytest.mark.parametrize(
        ("values", "text", "expected"),
        [
            (["abcd", "cdefgh"], "xabcdefghx", "x***x"),
            (["cdefgh", "abcd"], "xabcdefghx", "x***x"),
            (["abcdef", "cdef"], "abcdef cdef", "*** ***"),
            (["abcdef", "abcd"], "abcdef abcd", "*** ***"),
            (["abcdef", "bcde"], "abcdef", "***"),
            (["abab"], "-ababab-", "-***-"),
            (["abab"], "ababxabababxabab", "***x***x***"),
            (["aaaa"], "aaaaaaaaa", "***"),
            (["abcd"], "abcdabcd", "******"),
            (["****"], "a****b", "a***b"),
            (["abcd", "x***"], "xabcd", "x***"),
        ],
    )
    def test_no_piece_of_an_overlapping_value_stays(
        self, values: list[str], text: str, expected: str
    ) -> None:
        letters = str.maketrans("ac", "áç")  # words would be masked as whole words only
        values, text = [value.translate(letters) for value in values], text.translate(letters)
        expected = expected.translate(letters)
        redactor = Redactor(values)
        assert redactor.text(text) == expected
        assert redactor.data(text.encode()) == expected.encode()


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("https://u:pw@host/p", "https://u:***@host/p"),
            ("https://u:p@ss@host/p", "https://u:***@host/p"),
            ("https://:pw@host", "https://:***@host"),
            ("https://me@corp.com:pw@host", "https://me@corp.com:***@host"),
            ("mongodb+srv://u:pw@a,b:1/x a@b", "mongodb+srv://u:***@a,b:1/x a@b"),
            ("git+ssh://u:pw@h and s3://k:s@b", "git+ssh://u:***@h and s3://k:***@b"),
            ('{"url":"http://u:pw@h","mail":"x@y"}', '{"url":"http://u:***@h","mail":"x@y"}'),
        ],
    )
    def test_the_password_is_masked(self, url: str, expected: str) -> None:
        """Contract 14.2: "the password part of URLs", also of unknown ones."""
        assert Redactor().text(url) == expected
        assert Redactor().data(url.encode()) == expected.encode()

    @pytest.mark.parametrize(
        "url",
        [
            "https://host:8080/x@y",
            "https://host/a:b@c",
            "ssh://git@host/o/r",
            "git@host:o/r.git",
            "http://[::1]:80/",
            "://x:y@z",
            "user:pw@host",
            "12:30 a@b",
        ],
    )
    def test_other_texts_stay(self, url: str) -> None:
        assert Redactor().text(url) == url
        assert Redactor().data(url.encode()) == url.encode()

    def test_a_long_line_costs_linear_time(self) -> None:
        """Given a megabyte of scheme characters / it ends at all (it took hours when it was quadratic)."""
        text = "a" * 1_000_000 + "://" + "b" * 1_000_000 + ":" + "@" * 10 + "c" * 1_000_000
        assert Redactor().text(text).endswith(":***@" + "c" * 1_000_000)


@given(SECRET_TEXT, FILLER, FILLER)
@example("abcd", "", "")
@example("\ud800abc", "-", "-")
def test_an_embedded_secret_never_survives(value: str, before: str, after: str) -> None:
    redacted = Redactor([value]).text(before + value + after)
    assert value not in redacted
    assert MASK in redacted


@given(st.lists(SECRET_TEXT, min_size=1, max_size=4), st.data())
def test_text_made_of_secrets_has_nothing_of_them(values: list[str], data: st.DataObject) -> None:
    """No value is left in any text, however the values are cut, mixed and joined."""
    pieces = st.sampled_from(values).flatmap(
        lambda value: st.integers(0, len(value)).map(lambda cut: value[cut:])
    )
    text = "".join(data.draw(st.lists(st.one_of(pieces, st.sampled_from(values)), max_size=6)))
    redacted = Redactor(values).text(text)
    for stretch in redacted.split(MASK):
        assert not any(value in stretch for value in values)


@given(ANY_TEXT, st.lists(ANY_TEXT, max_size=3))
def test_changes_nothing_without_masking_something(text: str, values: list[str]) -> None:
    redacted = Redactor(values).text(text)
    assert redacted == text or MASK in redacted


@given(st.binary(), st.lists(st.text(min_size=4), max_size=3))
def test_bytes_never_fail(data: bytes, values: list[str]) -> None:
    redacted = Redactor(values).data(data)
    assert redacted == data or MASK.encode() in redacted


@given(st.text(), st.lists(SECRET_TEXT.map(lambda text: text.replace("\ud800", "x")), max_size=3))
def test_text_and_bytes_agree(text: str, values: list[str]) -> None:
    """The same redactor gives the same result for a text and for its UTF-8."""
    encodable = [value for value in values if value.isprintable()]
    redactor = Redactor(encodable)
    mixed = text + "".join(encodable) + text
    assert redactor.data(mixed.encode()).decode() == redactor.text(mixed)
