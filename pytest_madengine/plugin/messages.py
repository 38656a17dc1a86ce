"""Warnings and reports as pytest shows them."""

from __future__ import annotations

import pytest

from pytest_madengine.secrets import Redactor
from pytest_madengine.util.text import log_line, visible


class MadWarning(pytest.PytestWarning):
    """Something in the MAD repository looks wrong but does not stop a run."""

    def __init__(self, text: str) -> None:
        super().__init__(visible(text))


def clean_report(report: pytest.TestReport, redactor: Redactor, *, of_model: bool) -> None:
    """No secret on any report; of a model nothing, either, that a terminal or an XML file cannot take."""

    def clean(text: str) -> str:
        return log_line(redactor.text(text)) if of_model else redactor.text(text)

    if report.longrepr is not None and not isinstance(report.longrepr, tuple):
        text = str(report.longrepr)
        if clean(text) != text:
            report.longrepr = clean(text)
    report.sections = [(name, clean(content)) for name, content in report.sections]
