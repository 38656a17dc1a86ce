"""data.json (contract 13.1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.data.config import DataConfig, Source, load_config, parse_config
from pytest_madengine.errors import ConfigError

PROVIDERS = {
    "custom": frozenset[str](),
    "local": frozenset[str](),
    "minio": frozenset({"region", "endpoint_url"}),
    "nas": frozenset[str](),
    "aws": frozenset({"region", "endpoint_url"}),
}


def parse(value: object) -> DataConfig:
    return parse_config(json.dumps(value), "data.json", PROVIDERS)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"d": {"local": {"path": "/p"}}}, Source("d", "local", "/p")),
        ({"d": {"local": "/p"}}, Source("d", "local", "/p")),
        ({"data_sources": {"d": {"local": "/p"}}}, Source("d", "local", "/p")),
        (
            {
                "data_sources": {"d": {"local": "/path", "mirrorlocal": "/mirror", "readwrite": "true"}},
                "mirrorlocal": "/x",
            },
            Source("d", "local", "/path", mirror="/mirror", read_write=True),
        ),
        (
            {"data_sources": {"d": {"local": "/p"}}, "mirrorlocal": "/m"},
            Source("d", "local", "/p", mirror="/m"),
        ),
        ({"d": {"local": "/p"}, "mirrorlocal": "/m"}, Source("d", "local", "/p", mirror="/m")),
        ({"d": {"local": "/p", "home": "/h", "readwrite": True}}, Source("d", "local", "/p", "/h", "", True)),
        ({"d": {"local": {"path": "/p", "home": "/own"}, "home": "/h"}}, Source("d", "local", "/p", "/own")),
        (
            {"d": {"local": {"path": "/p", "readwrite": False}, "readwrite": "true"}},
            Source("d", "local", "/p"),
        ),
        ({"d": {"custom": {"path": "s.sh", "args": "-x $Y"}}}, Source("d", "custom", "s.sh", args="-x $Y")),
        (
            {"d": {"aws": {"path": "s3://b/p", "region": "eu", "endpoint_url": "http://h"}}},
            Source("d", "aws", "s3://b/p", extra={"region": "eu", "endpoint_url": "http://h"}),
        ),
    ],
)
def test_forms(config: object, expected: Source) -> None:
    """Contract 13.1: flat and wrapped, texts as paths, fields at the name and at the top."""
    parsed = parse(config)
    assert parsed.names["d"].sources == {expected.provider: expected}
    assert not parsed.names["d"].warnings
    assert not parsed.warnings


def test_a_name_without_providers() -> None:
    """Contract 13.2: `{"huggingface": {}}`."""
    assert parse({"huggingface": {}}).names["huggingface"].sources == {}


def test_a_data_name_may_be_called_like_a_field() -> None:
    assert parse({"mirrorlocal": {"local": "/p"}}).names["mirrorlocal"].sources["local"].path == "/p"


@pytest.mark.parametrize(
    ("entry", "warning"),
    [
        ({"lokal": "/p"}, "data.json: d: unknown provider 'lokal'; did you mean 'local'?"),
        ({"ftp": "/p"}, "unknown provider 'ftp'; known are aws, custom, local, minio, nas"),
        (
            {"local": {"path": "/p", "hom": "/h"}},
            "data.json: d.local: unknown field 'hom'; did you mean 'home'?",
        ),
        ({"nas": {"path": "/p", "region": "r"}}, "d.nas: unknown field 'region'"),
        ({"local": {"path": "/p", "readwrite": 7}}, "d.local.readwrite: neither true nor false"),
    ],
)
def test_warnings(entry: object, warning: str) -> None:
    """Contract 13.1: unknown providers and fields warn."""
    (found,) = parse({"d": entry}).names["d"].warnings
    assert warning in found


def test_unknown_fields_beside_the_wrapper() -> None:
    assert parse({"data_sources": {}, "version": 2}).warnings == (
        "data.json: unknown field 'version' beside 'data_sources'",
    )


@pytest.mark.parametrize(
    ("entry", "error"),
    [
        ("/p", "data.json: d: must be an object of providers, not a text"),
        (None, "d: must be an object of providers, not null"),
        ({"local": 3}, "d.local: must be a path or an object, not a number"),
        ({"local": {"path": ["/p"]}}, "d.local.path: must be a text, not a list"),
        ({"local": {"path": True}}, "d.local.path: must be a text, not a boolean"),
        ({"local": {"path": {}}}, "d.local.path: must be a text, not an object"),
        ({"local": {"path": "a\0b"}}, "d.local.path: must not have a NUL character"),
        ({"local": {"path": "/p", "home": "rel"}}, "d.local.home: 'rel' is not an absolute path inside"),
        ({"local": "/p", "home": "/a/../b"}, "is not an absolute path"),
        ({"local": "/p", "home": "/a:ro"}, "is not an absolute path"),
    ],
)
def test_wrong_entries_concern_their_name_only(entry: object, error: str) -> None:
    parsed = parse({"d": entry, "e": {"local": "/p"}})
    assert error in parsed.names["d"].error
    assert not parsed.names["e"].error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "data configuration data.json: not JSON: .* at line 1 column 2"),
        ("[1]", "must be an object of data names, not a list"),
        ("[" * 100_000, "nested deeper than 100"),
    ],
)
def test_unusable_texts(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(text, "data.json", PROVIDERS)


def test_files(tmp_path: Path) -> None:
    """A file the user named must be there; the default one need not."""
    path = tmp_path / "data.json"
    with pytest.raises(ConfigError, match=r"--mad-data-config: .*data\.json is not a file"):
        load_config(path, True, None, PROVIDERS)
    assert not load_config(path, False, None, PROVIDERS).found
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path, False, None, PROVIDERS)
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path, True, None, PROVIDERS)


def test_names_of_the_context_replace_those_of_the_file(tmp_path: Path) -> None:
    """Contract 7.2: `data` replaces data names, whole; both forms."""
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"a": {"local": "/1", "aws": "s3://b"}, "b": {"local": "/2"}}))
    for context in ({"a": {"nas": "/3"}}, {"data_sources": {"a": {"nas": "/3"}}}):
        names = load_config(path, True, context, PROVIDERS).names
        assert {name: list(entry.sources) for name, entry in names.items()} == {"a": ["nas"], "b": ["local"]}
        assert names["a"].file == "context: data"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["d", "local", "aws", "path", "home", "mirrorlocal", "readwrite", "data_sources"])
            | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read_or_refused(value: Any) -> None:
    """Every JSON value gives a configuration with absolute homes, or a ConfigError."""
    try:
        config = parse(value)
    except ConfigError as error:
        assert "\n" not in error.message  # noqa: PT017
        return
    for entry in config.names.values():
        for source in entry.sources.values():
            assert not source.home or source.home.startswith("/")
            assert isinstance(source.path, str)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_config(text, "f", PROVIDERS)
    except ConfigError:
        return
