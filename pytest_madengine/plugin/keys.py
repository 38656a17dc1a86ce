"""What this plugin keeps in the stash of pytest's objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_madengine.pipeline.run import ItemRun
    from pytest_madengine.session.session import MadSession

run_key: pytest.StashKey[ItemRun] = pytest.StashKey()
session_key: pytest.StashKey[MadSession] = pytest.StashKey()
