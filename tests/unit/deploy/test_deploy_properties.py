"""Hostile texts everywhere: files parse, texts stay texts, and nothing is added (hypothesis)."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deploy_site import new_site
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_madengine.deploy.k8s.names import LONGEST_LABEL, file_keys, label_value, object_name
from pytest_madengine.deploy.shelltext import array, assign
from pytest_madengine.deploy.yamltext import Unsafe, dump_documents
from pytest_madengine.errors import ConfigError
from pytest_madengine.plan.expansion import names_in
from pytest_madengine.util.text import is_safe

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
#: Texts that mean something to YAML, bash, Jinja or the API.
WORDS = st.sampled_from(
    [
        *(
            "1e3",
            "0x1F",
            "08",
            "y",
            "No",
            "~",
            "null",
            "- a",
            "a: b",
            "a #b",
            "&a",
            "*a",
            "!x",
            "%a",
            "@",
            "`",
        ),
        *(
            "{{ 1+1 }}",
            "{% x %}",
            "$(id)",
            "`id`",
            "'; touch x; '",
            '"',
            "\\",
            "$$(A)",
            "|",
            ">",
            "---",
            "...",
        ),
        *("a\nb", " lead", "trail ", "\t", "é", "\u2028", "\x85", "\ufeff", "😀", "=", "<<", "2024-01-01"),
    ]
)
HOSTILE = st.one_of(TEXTS, WORDS, st.lists(WORDS, max_size=4).map("\n".join))
TREES = st.recursive(
    st.one_of(HOSTILE, st.booleans(), st.integers(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(HOSTILE, inner, max_size=4)),
    max_leaves=12,
)


@given(TREES)
@settings(max_examples=300, deadline=None)
def test_yaml_comes_back_as_it_was(value: Any) -> None:
    text = dump_documents([value], "a comment")
    assert list(yaml.safe_load_all(text)) == [value]


@given(HOSTILE)
@settings(max_examples=200, deadline=None)
def test_readers_of_yaml_1_2_agree(text: str) -> None:
    """kubectl reads other words as numbers than Python does."""
    ruamel = pytest.importorskip("ruamel.yaml")
    reader = ruamel.YAML(typ="safe", pure=True)
    assert reader.load(dump_documents([{"key": text, text: "value"}])) == {"key": text, text: "value"}


@given(HOSTILE)
def test_unsafe_texts_are_tagged(text: str) -> None:
    assert dump_documents([Unsafe(text)]).startswith('--- !unsafe "')


def test_texts_that_are_no_unicode() -> None:
    with pytest.raises(ConfigError, match="Unicode"):
        dump_documents(["\ud800"])
    with pytest.raises(ConfigError, match="Unicode"):
        assign("a", "\ud800")


@given(TEXTS)
def test_names_are_what_the_api_accepts(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", object_name(text, 63))
    assert len(object_name(text, 63)) <= 63
    assert len(object_name(text)) <= 253
    value = label_value(text)
    assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", value)
    assert len(value) <= LONGEST_LABEL


def test_names_of_contract_16_4() -> None:
    assert object_name("dummy/Model_2:x") == "madengine-dummy-model-2-x"
    long = object_name("a" * 300)
    assert len(long) == 253
    assert re.fullmatch(r"madengine-a+-[0-9a-f]{12}", long)
    assert object_name("a" * 300) != object_name("a" * 299 + "b")
    assert label_value("plain_1.x") == "plain_1.x"
    assert label_value("a/b") != label_value("a-b")


@given(st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=8))
def test_keys_of_files_are_valid_and_distinct(paths: list[str]) -> None:
    keys = file_keys([*paths, "a/b.c", "a/b/c", "a.b.c", "..", "."])
    assert len(set(keys.values())) == len(keys)
    for key in keys.values():
        assert re.fullmatch(r"[-._A-Za-z0-9]{1,253}", key)
        assert key not in {".", ".."}


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), max_size=3
    )
)
@settings(max_examples=30, deadline=None)
def test_assignments_are_data(values: list[str]) -> None:
    script = f"{assign('one', values[0] if values else '')}\n{array('many', values)}\n"
    script += 'printf "%s\\0" "$one" "${many[@]}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    expected = [values[0] if values else "", *values]
    assert done.stdout.decode().split("\0")[:-1] == expected
    assert shlex.split(assign("x", "a b")) == ["x=a b"]


NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\:"), min_size=1, max_size=30
).filter(lambda text: text.strip() == text and is_safe(text))
PRINTABLE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30), WORDS
).filter(lambda text: not names_in(text))


@given(NAMES, PRINTABLE, st.dictionaries(st.from_regex(r"[A-Z]{1,6}", fullmatch=True), PRINTABLE, max_size=3))
@settings(max_examples=25, deadline=None)
def test_hostile_models(
    tmp_path_factory: pytest.TempPathFactory, name: str, args: str, variables: dict[str, str]
) -> None:
    """Defect 26: names, args and variables arrive as what they are, in objects that the API accepts."""
    site = new_site(Path(tmp_path_factory.mktemp("hostile")) / "mad")
    site.model(name, n_gpus="0", args=args, env_vars=variables)
    site.k8s()
    for file in ("k8s-madengine-configmap.yaml", "k8s-madengine-job.yaml"):
        for document in site.documents(file):
            kubernetes_validate.validate(document, "1.34.0", strict=True)
    env = site.env()
    assert env["MAD_MODEL_NAME"] == name.replace("$", "$$")
    for key, value in variables.items():
        if isinstance(env[key], str):
            assert env[key].replace("$$", "$") == value
    assert [one["kind"] for one in site.documents()] == ["PersistentVolumeClaim", "Job"]
    for script in ("start.sh", "phases.head"):
        text = site.one("ConfigMap")["data"][f"madengine-job.{script}"]
        subprocess.run(["bash", "-n"], input=text.encode(), check=True)
