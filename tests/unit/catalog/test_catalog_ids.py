"""Item ids and parameters (contract 5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.catalog.ids import (
    arguments_text,
    environment_parameters,
    full_args,
    item_name,
    parse_item_name,
    selected_entry,
    selector_of,
)
from pytest_madengine.catalog.model import Model, Parameter, Selected
from pytest_madengine.catalog.selectors import ModelIndex, parse_selectors, resolve


def selected(full_name: str, /, *parameters: Parameter, args: str = "", **raw: object) -> Selected:
    scope = full_name.rpartition("/")[0]
    found = Model(name=full_name, dockerfile="d", scripts="s", args=args, scope=scope, raw=raw)
    return Selected(found, parameters)


@pytest.mark.parametrize(
    "parameters, base, expected",
    [
        ((), None, "m"),
        ((Parameter("p", "v"), Parameter("q", "w")), None, "m[p=v:q=w]"),
        ((), "m.ubuntu", "m[m.ubuntu]"),
        ((Parameter("p", "v"),), "m.ubuntu", "m[m.ubuntu:p=v]"),
        ((Parameter("flag"), Parameter("empty", "")), None, "m[flag:empty=]"),
    ],
)
def test_item_name(parameters: tuple[Parameter, ...], base: str | None, expected: str) -> None:
    """Contract 5, item ids; each is read back into name and bracket text."""
    text = item_name(selected("m", *parameters), base)
    assert text == expected
    name, inner = parse_item_name(text)
    assert (f"{name}[{inner}]" if inner else name) == text


def test_arguments_and_entry() -> None:
    """Contract 5: ` --k v`, ` --k`, ` --k ''`, appended to the args of the entry."""
    item = selected(
        "m", Parameter("a", "1"), Parameter("b"), Parameter("c", ""), args="--x 0", name="m", odd=1
    )
    assert arguments_text(item) == " --a 1 --b --c ''"
    assert full_args(item) == "--x 0 --a 1 --b --c ''"
    assert selected_entry(item) == {"name": "m", "odd": 1, "args": "--x 0 --a 1 --b --c ''"}
    assert selected_entry(selected("m", name="m")) == {"name": "m"}


def test_environment_parameters() -> None:
    """Contract 5: names that are variable names; a bare flag is 1; the last of equal names counts."""
    item = selected(
        "m",
        Parameter("a", ""),
        Parameter("_b2"),
        Parameter("2c", "1"),
        Parameter("d-e", "1"),
        Parameter("a", "9"),
    )
    assert environment_parameters(item) == {"a": "9", "_b2": "1"}


def test_selector_of_a_node_id() -> None:
    """A node id given without tags is turned back into the selector of exactly this item."""
    assert selector_of("dummy2/model2[batch-size=32]") == "dummy2/model2:batch-size=32"
    assert selector_of("dummy2[model2]") == "/dummy2:model2"
    assert selector_of("m[m.ubuntu:p=v]", bases=["m.ubuntu"]) == "/m:p=v"
    assert selector_of("m[m.ubuntu]", bases=["m.ubuntu"]) == "/m"
    assert selector_of("m[x") == "/m[x"


def test_names_with_brackets() -> None:
    """Known names tell a bracket of a name from ours."""
    known = ["a[b]", "c"]
    assert parse_item_name("a[b]", known) == ("a[b]", "")
    assert parse_item_name("a[b][x=[1]]", known) == ("a[b]", "x=[1]")
    assert parse_item_name("zzz[b]", known) == ("zzz[b]", "")
    assert parse_item_name("[b]") == ("[b]", "")


_names = st.text(
    alphabet=st.characters(exclude_characters="\\/:[], ", exclude_categories=["C", "Z"]), min_size=1
)
_values = st.text(alphabet=st.characters(exclude_characters=":,|", exclude_categories=["C", "Z"]), max_size=8)
_parameters = st.builds(Parameter, _names.filter(lambda n: not set("=|") & set(n)), st.none() | _values)


@given(st.sampled_from(["", "dir/"]), _names, st.lists(_parameters, max_size=3))
def test_round_trip_of_ids(directory: str, name: str, parameters: list[Parameter]) -> None:
    """Every id, read back as a selector, selects the same item."""
    item = selected(directory + name, *parameters)
    index = ModelIndex([item.model])
    (again,) = resolve(parse_selectors([selector_of(item_name(item))]), index).items
    assert again == item
