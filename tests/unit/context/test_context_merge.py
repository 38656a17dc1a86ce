from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.context.merge import Layer, copy_tree, merge
from pytest_madengine.secrets import Secret

KEYS = st.sampled_from(["a", "b", "c", "docker_env_vars"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
TREES = st.dictionaries(KEYS, VALUES, max_size=4)


def containers(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [value, *(entry for child in value.values() for entry in containers(child))]
    if isinstance(value, list):
        return [value, *(entry for child in value for entry in containers(child))]
    return []


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and (value or not path):
        return {
            leaf: entry
            for key, child in value.items()
            for leaf, entry in leaves(child, f"{path}.{key}" if path else key).items()
        }
    return {path: value}


@pytest.mark.parametrize(
    "low, high, expected",
    [
        ({"e": {"A": "0", "B": "2"}}, {"e": {"A": "1"}}, {"e": {"A": "1", "B": "2"}}),
        ({"t": [{"name": "A"}]}, {"t": [{"name": "B"}]}, {"t": [{"name": "B"}]}),
        ({"a": {"x": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 2}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": {"x": {"y": 1}}}, {"a": {"x": {"z": 2}}}, {"a": {"x": {"y": 1, "z": 2}}}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": 1}}),
    ],
)
def test_objects_merge_and_the_rest_is_replaced(low, high, expected):
    """Contract 7.1."""
    assert merge([Layer(low, "low"), Layer(high, "high")])[0] == expected


def test_every_leaf_knows_its_origin():
    """Contract 7.1; what was replaced leaves no origin behind."""
    low = {"e": {"A": "0", "B": "2"}, "gone": {"x": 1}, "empty": {}, "list": [1]}
    values, origins = merge([Layer(low, "file:c.json"), Layer({"e": {"A": "1"}, "gone": 1}, "string")])
    assert values["gone"] == 1
    assert origins == {
        "e.A": "string",
        "e.B": "file:c.json",
        "gone": "string",
        "empty": "file:c.json",
        "list": "file:c.json",
    }


def test_an_empty_object_belongs_to_its_last_giver():
    assert merge([Layer({"a": {}}, "low"), Layer({"a": {}}, "high")])[1] == {"a": "high"}
    assert merge([Layer({"a": {}}, "low"), Layer({"a": {"b": {}}}, "high")])[1] == {"a.b": "high"}


def test_secrets_can_be_copied():
    secret = Secret("hunter22")
    copied = copy_tree({"a": [{"b": secret}], "t": (1, 2)})
    assert copied["a"][0]["b"] is secret
    assert copied["t"] == [1, 2]


@given(TREES)
def test_merging_a_layer_twice_changes_nothing(tree):
    once = merge([Layer(tree, "x")])
    assert once[0] == tree
    assert merge([Layer(tree, "x"), Layer(tree, "x")]) == once


@given(TREES, TREES)
def test_leaves_of_the_higher_layer_win(low, high):
    values, origins = merge([Layer(low, "low"), Layer(high, "high")])
    merged = leaves(values)
    assert origins.keys() == merged.keys()
    for path, value in leaves(high).items():
        if value != {}:
            assert merged[path] == value
            assert origins[path] == "high"
    for path, value in merged.items():
        if origins[path] == "low":
            assert leaves(low)[path] == value


@given(TREES, TREES, TREES)
def test_merge_is_associative(first, second, third):
    whole = merge([Layer(first, "1"), Layer(second, "2"), Layer(third, "3")])[0]
    left = merge([Layer(first, "1"), Layer(second, "2")])[0]
    assert merge([Layer(left, "l"), Layer(third, "3")])[0] == whole


@given(TREES, TREES)
def test_nothing_is_shared_with_the_inputs(low, high):
    """Defect 52: given context lists, when they are merged, then the inputs are unchanged and not shared."""
    before = copy.deepcopy([low, high])
    values, _ = merge([Layer(low, "low"), Layer(high, "high")])
    mine = {id(entry) for entry in containers(values)}
    assert not mine & {id(entry) for entry in [*containers(low), *containers(high)]}
    for entry in containers(values):
        entry.clear()
    assert [low, high] == before
