"""docs/reference/lint-rules.md lists every rule as it is."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_madengine.lint.rules import RULES

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "lint-rules.md").read_text(encoding="utf-8")


def test_every_rule_has_its_row() -> None:
    for rule in RULES:
        row = f'| <a id="{rule.anchor}"></a>{rule.id} | `{rule.name}` | {rule.severity} | {rule.help} | '
        assert PAGE.count(row) == 1, row


def test_no_other_rule_is_listed() -> None:
    assert re.findall(r"^\| <a id=\"\w+\"></a>(\w+)", PAGE, re.MULTILINE) == [rule.id for rule in RULES]
