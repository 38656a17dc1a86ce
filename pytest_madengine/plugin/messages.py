"""Warnings as pytest shows them."""

from __future__ import annotations

import pytest

from pytest_madengine.util.text import visible


class MadWarning(pytest.PytestWarning):
    """Something in the MAD repository looks wrong but does not stop a run."""

    def __init__(self, text: str) -> None:
        super().__init__(visible(text))
