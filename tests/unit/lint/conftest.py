"""MAD roots for the tests of the linter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from lint_samples import CLEAN, LintFiles, MakeRoot
from pytest_madengine.lint.findings import Report
from pytest_madengine.lint.repository import LintRequest, lint


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """Writes a clean repository with changes: text and bytes as they are, ``None`` removes, else JSON."""

    def make(files: dict[str, Any] | None = None, name: str = "mad") -> Path:
        root = tmp_path / name
        (root / "scripts").mkdir(parents=True)
        for path, content in {**CLEAN, **(files or {})}.items():
            if content is None:
                continue
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                target.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return root

    return make


@pytest.fixture
def lint_files(make_root: MakeRoot) -> LintFiles:
    """The report about a clean repository with changes."""

    def run(files: dict[str, Any] | None = None, **options: Any) -> Report:
        return lint(LintRequest(make_root(files), **options))

    return run
