"""Options that name a default file: scripts of madengine give them where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_madengine.options import OPTIONS
from pytest_madengine.plugin.options import given_file


@pytest.mark.parametrize("default", [option.usual for option in OPTIONS if option.usual])
def test_a_default_that_is_given(tmp_path: Path, default: str) -> None:
    """faults 5.7: given the default path of an option, and no file there, then as if it were not given."""
    here = tmp_path / "here"
    for given in (here / default, here / "." / default, tmp_path / default, here / "x/.." / default):
        assert given_file(given, default, tmp_path, here) is None
    assert given_file(None, default, tmp_path, here) is None
    other = tmp_path / "other" / default
    assert given_file(other, default, tmp_path, here) == other
    (here / default).parent.mkdir(parents=True)
    (here / default).touch()
    assert given_file(here / default, default, tmp_path, here) == here / default
