"""The quick look at entries agrees with pydantic (contract section 3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.catalog.fields import KNOWN_FIELDS, plainly_valid
from pytest_madengine.catalog.schema import Entry, validate

#: Every field with a value of a type it may have.
FULL: dict[str, Any] = {
    "name": "m",
    "dockerfile": "docker/m",
    "scripts": "run.sh",
    "n_gpus": "4",
    "gpus_per_node": 8,
    "gpu_count": -1,
    "num_gpus": "0",
    "ngpus": 1,
    "args": "--x",
    "tags": ["a", "b"],
    "training_precision": "fp16",
    "owner": "o@x",
    "url": "https://h/r.git",
    "cred": "C",
    "data": "d1,d2",
    "dockercontext": "docker",
    "timeout": -1,
    "multiple_results": "r.csv",
    "skip_gpu_arch": "gfx90a",
    "additional_docker_run_options": "--init",
    "is_deprecated": False,
    "deprecated": True,
    "env_vars": {"A": "x", "B": 1, "C": 1.5, "D": True},
    "distributed": {"launcher": "torchrun", "nnodes": 2},
    "slurm": {},
    "log_error_pattern_scan": True,
    "log_error_patterns": ["x"],
    "log_error_benign_patterns": [],
}

texts = st.one_of(st.text(max_size=3), st.just("\ud800"), st.just("é"))
scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), texts, st.binary(max_size=1))
values = st.one_of(
    scalars, st.lists(scalars, max_size=3), st.dictionaries(scalars, scalars, max_size=2), st.tuples(texts)
)
names = st.one_of(st.sampled_from(sorted(KNOWN_FIELDS)), scalars)
right = st.sampled_from(sorted(FULL.items(), key=lambda pair: pair[0]))
pairs = st.one_of(right, st.tuples(names, values))
entries = st.one_of(st.lists(pairs, max_size=4).map(dict), values)


def test_the_tables_name_the_same_fields() -> None:
    assert frozenset(Entry.__annotations__) == KNOWN_FIELDS


def test_ordinary_entries_are_plain() -> None:
    """Also with a field nobody knows."""
    assert FULL.keys() == KNOWN_FIELDS
    assert plainly_valid([FULL, {}, {**FULL, "unknown": None}])
    assert plainly_valid([])


@pytest.mark.parametrize("name", sorted(KNOWN_FIELDS))
@pytest.mark.parametrize("value", [None, b"x", (), [1], {"x": None}, {1: "x"}], ids=repr)
def test_doubtful_values_are_left_to_pydantic(name: str, value: object) -> None:
    if name in ("distributed", "slurm") and value == {"x": None}:
        assert plainly_valid([{name: value}])
    else:
        assert not plainly_valid([{name: value}])


@pytest.mark.parametrize("entries", [(), {}, None, "x", [[]], [None], [{"timeout": -2}], [{"n_gpus": True}]])
def test_doubtful_entries_are_left_to_pydantic(entries: object) -> None:
    assert not plainly_valid(entries)


@given(st.one_of(st.lists(entries, max_size=3), entries))
def test_what_is_plainly_valid_is_valid(given_entries: object) -> None:
    """Pydantic accepts it too, and changes nothing."""
    if plainly_valid(given_entries):
        assert repr(validate(given_entries, "models.json")) == repr(given_entries)
