"""Every page can be read, reached and trusted: links, navigation, examples that parse."""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs_pages import DOCS, PROJECT, Block, all_blocks, anchors, blocks_of, links, missing_output, pages

every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(PROJECT)))
BLOCKS = all_blocks()
LANGUAGES = {"console", "bash", "text", "json", "ini", "yaml", "python", "dockerfile", "groovy"}


def blocks_in(*languages: str) -> Any:
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


@every_page
def test_internal_links_resolve(page: Path) -> None:
    broken = []
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert not broken


@every_page
def test_a_page_has_one_title(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"^# ", outside, flags=re.MULTILINE)) == 1


@every_page
def test_fences_name_a_language_that_is_checked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^ *```", text, flags=re.MULTILINE)) == 2 * len(blocks_of(page))
    assert {block.language for block in blocks_of(page)} <= LANGUAGES


def test_every_page_is_in_the_navigation() -> None:
    def leaves(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [leaf for value in values for leaf in leaves(value)]

    navigation = leaves(yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert sorted(navigation) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@blocks_in("json")
def test_json_examples_parse(block: Block) -> None:
    json.loads(block.text)


@blocks_in("ini")
def test_ini_examples_parse(block: Block) -> None:
    parser = configparser.ConfigParser(allow_no_value=True, interpolation=None)
    parser.read_string(block.text)
    assert "pytest" in parser.sections()


@blocks_in("yaml")
def test_yaml_examples_parse(block: Block) -> None:
    assert isinstance(yaml.safe_load(block.text), dict)


@blocks_in("python")
def test_python_examples_compile(block: Block) -> None:
    tree = compile(block.text, block.place, "exec", ast.PyCF_ONLY_AST)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_madengine"):
            module = __import__(str(node.module), fromlist=["*"])
            assert all(hasattr(module, name.name) for name in node.names)


@blocks_in("bash")
def test_bash_examples_parse(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=10, check=False
    )
    assert done.stderr == ""


@blocks_in("dockerfile")
def test_dockerfile_examples_have_a_context_line(block: Block) -> None:
    first = block.text.splitlines()[0]
    assert isinstance(ast.literal_eval(first.removeprefix("# CONTEXT ")), dict)


def test_a_marker_stands_before_a_block() -> None:
    for page in pages():
        marked = re.findall(r"^<!-- (?:run|skip|file):.*-->$", page.read_text("utf-8"), flags=re.MULTILINE)
        assert len(marked) == sum(1 for block in blocks_of(page) if block.marker), page


def test_no_page_names_a_machine() -> None:
    for page in pages():
        assert not re.search(r"/work/|/tmp/venv|\bvm\b", page.read_text(encoding="utf-8")), page


@pytest.mark.parametrize(
    ("shown", "actual", "missing"),
    [
        (["model   status", "m  SUCCESS  5 x   1.2"], "model status\nm SUCCESS 17 x 0.1", []),
        (["m  SUCCESS"], "m FAILURE", ["m  SUCCESS"]),
        (["=== 2 passed in 1.2s ==="], "======= 2 passed in 33.01s =======", []),
        (["...", "log: .../a.log"], "log: /x/y/20261123T000000Z-aaaa/a.log", []),
        (["not shortened (n_…"], "not shortened (n_gpus=8)", []),
        (["DEMO_KEY=***  [credential]"], "DEMO_KEY=abc [credential]", ["DEMO_KEY=***  [credential]"]),
    ],
)
def test_the_comparison_of_output(shown: list[str], actual: str, missing: list[str]) -> None:
    assert missing_output(shown, actual) == missing
