"""Values that are settings, not secrets, whatever their variable is called."""

from __future__ import annotations

import pytest
from pytest_madengine.secrets import Redactor


@pytest.mark.parametrize("value", ["1024", "12345", "-1.5", "1024.25", "true", "False", "None"])
def test_a_plain_setting_is_not_masked(value: str) -> None:
    """``MAX_TOKENS=1024`` has a secret name; a log line with 1024 must stay as it is."""
    assert Redactor([value]).text(f"performance: {value} sps") == f"performance: {value} sps"


@pytest.mark.parametrize("value", ["123456", "1234567", "12ab", "truely", "tr-ue9"])
def test_everything_else_is_masked(value: str) -> None:
    assert Redactor([value]).text(f"x {value} y") == "x *** y"
