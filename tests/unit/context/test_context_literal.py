from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.context.literal import MAX_DEPTH, MAX_LENGTH, as_object, parse_file, parse_string
from pytest_madengine.errors import ContextError
from pytest_madengine.secrets import Secret

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=4)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", {}),
        ("  \n", {}),
        ("{}", {}),
        ('{"debug": true}', {"debug": True}),
        ("{'debug': True}", {"debug": True}),
        (" {'a': None, 'b': (1, 2.5)} ", {"a": None, "b": [1, 2.5]}),
        ('{"a": "[[[["}', {"a": "[[[["}),
        ("{'a': '\\d'}", {"a": "\\d"}),
    ],
)
def test_json_first_then_a_python_literal(text, expected):
    """Contract 7.1."""
    assert parse_string(text, "S") == expected


@pytest.mark.parametrize(
    "text, words",
    [
        ("[1]", "must be an object {...}, not a list"),
        ("'x'", "not text"),
        ("1", "not a number"),
        ("None", "not null"),
        ("{", "is neither JSON"),
        ("__import__('os')", "is neither JSON"),
        ("{'a': open('/etc/passwd')}", "is neither JSON"),
        ('{"a": NaN}', "is neither JSON"),
        ('{"a": 1e999}', "a must be a finite number"),
        ("{1: 'a'}", "keys must be text"),
        ("{'a': {1: 2}}", "keys of a must be text"),
        ("{'a': {1, 2}}", "a has a value of type set"),
        ("{'a': b'x'}", "type bytes"),
        ("{'a': 1j}", "type complex"),
        ("{[]: 1}", "is neither JSON"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested deeper than 50"),
        ("{'a': " * 60 + "1" + "}" * 60, "nested deeper than 50"),
        ("-" * 100_000 + "1", "is neither JSON"),
        ("[" * 100_000, "nested deeper"),
        ("{'a': '" + "x" * MAX_LENGTH + "'}", "is longer than"),
        ("{'a': '\0'}", "is neither JSON"),
    ],
)
def test_wrong_texts_are_one_line_errors_that_name_the_source(text, words):
    """Contract 7.1: `[1]`, `{`, `__import__('os')` are usage errors."""
    with pytest.raises(ContextError) as error:
        parse_string(text, "S")
    assert error.value.message.startswith("S")
    assert words in error.value.message
    assert "\n" not in error.value.message


def test_errors_never_quote_the_text():
    with pytest.raises(ContextError) as error:
        parse_string('{"docker_env_vars": {"HF_TOKEN": "hunter22"}', "S")
    assert "hunter22" not in error.value.message + error.value.hint


def test_files_hold_json_objects(tmp_path: Path):
    path = tmp_path / "c.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert parse_file(path, "F") == {"a": 1}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"{'a': 1}", "F is not JSON: Expecting property name"),
        (b"[1]", "F must be an object"),
        (b"", "F is not JSON"),
        (b'{"a": "\xff"}', "F is not UTF-8"),
        (b'{"a": NaN}', "F is not JSON: NaN is not JSON"),
        (b"[" * 100, "F is nested deeper"),
        (b" " * (MAX_LENGTH + 1), "F is longer"),
    ],
)
def test_wrong_files(tmp_path: Path, content, words):
    """Contract 7.1: a file is a JSON object, no Python literal."""
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(ContextError, match=words):
        parse_file(path, "F")


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_unreadable_files(tmp_path: Path, name):
    with pytest.raises(ContextError, match=r"F cannot be read: (No such file|Is a directory)"):
        parse_file(tmp_path / name, "F")


def test_deep_trees_of_a_manifest_are_refused():
    tree: dict[str, object] = {}
    for _ in range(MAX_DEPTH + 2):
        tree = {"a": tree}
    with pytest.raises(ContextError, match="M: a is nested deeper"):
        as_object(tree, "M")


def test_secrets_are_kept():
    secret = Secret("hunter22")
    assert as_object({"a": {"b": secret}}, "M")["a"]["b"] is secret


@given(OBJECTS)
def test_every_json_object_is_read_back(value):
    assert parse_string(json.dumps(value), "S") == value


@given(OBJECTS)
def test_every_python_literal_is_read_back(value):
    assert parse_string(repr(value), "S") == value


@given(st.text())
def test_any_text_is_an_object_or_a_context_error(text):
    message = ""
    try:
        assert isinstance(parse_string(text, "S"), dict)
    except ContextError as error:
        message = error.message
    assert "\n" not in message


@given(st.text(alphabet="[]{}()'\",:\\ \n0aT-"))
def test_any_punctuation_is_an_object_or_a_context_error(text):
    message = ""
    try:
        assert isinstance(parse_string(text, "S"), dict)
    except ContextError as error:
        message = error.message
    assert "\n" not in message
