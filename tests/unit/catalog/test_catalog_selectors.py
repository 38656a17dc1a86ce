"""Selectors: parsing, resolution rules, sweeps, and which dynamic directories they need (contract 5, 6)."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.catalog.ids import arguments_text, item_name
from pytest_madengine.catalog.model import Model, Parameter
from pytest_madengine.catalog.selectors import (
    ModelIndex,
    dynamic_needs,
    parse_parameters,
    parse_selectors,
    resolve,
)
from pytest_madengine.errors import SelectorError


def model(name: str, *tags: str) -> Model:
    return Model(name=name, dockerfile="d", scripts="s", tags=tags, scope=name.rpartition("/")[0])


def names(models: list[Model], *selectors: str) -> list[str]:
    return [item_name(item) for item in resolve(parse_selectors(selectors), ModelIndex(models)).items]


def test_exact_name_hides_a_tag() -> None:
    """Contract 5: an exact full name hides a tag of the same text."""
    assert names([model("a"), model("b", "a")], "a") == ["a"]


def test_a_tag_comes_before_all_and_before_a_short_name() -> None:
    """Contract 5: rules 3, 5 and 6 in this order."""
    assert names([model("a"), model("b", "all")], "all") == ["b"]
    assert names([model("d/x"), model("b", "x")], "x") == ["b"]
    assert names([model("d/all"), model("b")], "all") == ["d/all", "b"]


def test_scoped_tag_comes_before_scoped_all() -> None:
    """Contract 5: rule 4; a directory's own tag `all` is a tag."""
    models = [model("d/x", "t"), model("d/y"), model("e/z", "t")]
    assert names(models, "d/t") == ["d/x"]
    assert names(models, "d/all") == ["d/x", "d/y"]
    assert names([model("d/x", "all"), model("d/y")], "d/all") == ["d/x"]


def test_leading_slash_means_the_root_file() -> None:
    """Contract 5: `/A` is root model A; likewise tags of root models and all of them."""
    models = [model("a", "t"), model("b"), model("a/b", "t")]
    assert names(models, "/a:b") == ["a[b]"]
    assert names(models, "/t") == ["a"]
    assert names(models, "/all:x") == ["a[x]", "b[x]"]
    with pytest.raises(SelectorError, match="given tag: /a/b"):
        names(models, "/a/b")


def test_directory_form_needs_a_bare_second_piece() -> None:
    """Contract 5: rule 1 only when B has no `=`."""
    models = [model("a"), model("a/b=1"), model("a/b")]
    assert names(models, "a:b=1") == ["a[b=1]"]
    assert names(models, "a:b:b=1") == ["a/b[b=1]"]
    assert names(models, "a : : b : c = 2 ") == ["a/b[c=2]"]


def test_warning_once_for_equal_selectors() -> None:
    """The same ambiguity is told once; the text shows how to mean the root model."""
    resolution = resolve(parse_selectors(["a:b", "a:b"]), ModelIndex([model("a"), model("a/b")]))
    (warning,) = resolution.warnings
    assert "with --b" in warning.message
    assert "'/a:b'" in warning.message


def test_equal_argument_text_is_one_item() -> None:
    """Contract 5: parameters are equal when the resulting argument text is equal."""
    assert names([model("a")], "a:x=", "a:x=''", "a:x") == ["a[x=]", "a[x]"]


def test_sweep_with_empty_value_and_tag() -> None:
    """Contract 5: discovery order, and per model one item per value; an empty value counts."""
    models = [model("a", "t"), model("b", "t")]
    assert names(models, "t:x=1|") == ["a[x=1]", "a[x=]", "b[x=1]", "b[x=]"]


def test_several_wrong_selectors_are_one_error() -> None:
    """All wrong selectors are told at once."""
    with pytest.raises(SelectorError) as caught:
        names([model("a")], "nope", "a", "never:x")
    assert caught.value.message == "No models found corresponding to the given tag: nope (and 1 more)"
    assert caught.value.log_tail == ("No models found corresponding to the given tag: never:x",)


def test_close_matches_also_for_the_directory_form() -> None:
    """Contract 5: close matches among full names, short names and tags, at most five."""
    models = [model("dummy2/model2"), *(model(f"x{i}", f"group{i}") for i in range(9))]
    with pytest.raises(SelectorError, match=r"\(close matches: dummy2/model2, model2\)"):
        names(models, "dumy2:model2")
    with pytest.raises(SelectorError) as caught:
        names(models, "group")
    assert caught.value.message.count("group") == 6


def test_all_of_nothing_is_an_error() -> None:
    """Contract 5: an empty selection is a usage error."""
    with pytest.raises(SelectorError, match="given tag: all"):
        names([], "all")


@pytest.mark.parametrize(
    "selector, text",
    [
        ("a:=1", "Parameter '=1' of selector 'a:=1' has no name"),
        ("a:x|y", "Flag 'x|y' of selector"),
        ("a:x=1\n2", "contains a control character"),
        ("a:x=" + "|".join("1" * 400) + ":y=" + "|".join("1" * 400), "expands to 160000 items, more than"),
    ],
)
def test_malformed_parameters(selector: str, text: str) -> None:
    """Malformed parameters are usage errors, whatever the model."""
    with pytest.raises(SelectorError) as caught:
        names([model("a")], selector)
    assert text in caught.value.message


def test_too_many_items_over_models() -> None:
    """A sweep is limited over all models it applies to."""
    models = [model(f"m{i}", "t") for i in range(300)]
    with pytest.raises(SelectorError, match="expands to 120000 items"):
        names(models, "t:x=" + "|".join("1" * 400))


STATIC = ModelIndex([model("dummy", "t"), model("dyn"), model("d/one"), model("d/two")])


@pytest.mark.parametrize(
    "selector, named, possible",
    [
        ("dummy", set(), set()),
        ("dummy:x=1", set(), set()),
        ("d/one", set(), set()),
        ("d:one", set(), set()),
        ("d/all", set(), set()),
        ("d/unknown", set(), set()),
        ("/dummy", set(), set()),
        ("/unknown", set(), set()),
        ("dyn", set(), set()),
        ("dyn:x=1", set(), set()),
        ("dyn:flag", {"dyn"}, set()),
        ("dyn/m", {"dyn"}, set()),
        ("dyn/all", {"dyn"}, set()),
        ("new:m", {"new"}, set()),
        ("all", set(), {"dyn", "new"}),
        ("t", set(), {"dyn", "new"}),
        ("one", set(), {"dyn", "new"}),
        ("unknown:x=1", set(), {"dyn", "new"}),
    ],
)
def test_dynamic_needs(selector: str, named: set[str], possible: set[str]) -> None:
    """Contract 6, row "when": executed only if a selector can need it."""
    needs = dynamic_needs(parse_selectors([selector]), STATIC, {"dyn", "new"})
    assert (set(needs.named), needs.possible) == (named, possible)


# Properties

_words = st.text(alphabet="ab1=|:/-[] ,é", max_size=12)
_models = st.lists(
    st.tuples(st.sampled_from(["", "d", "e"]), st.sampled_from("abc"), st.sets(st.sampled_from("tuab"))),
    max_size=8,
    unique_by=lambda entry: entry[:2],
).map(lambda entries: [model(f"{d}/{n}" if d else n, *sorted(tags)) for d, n, tags in entries])


@given(st.lists(st.text(max_size=20) | _words, max_size=4), _models)
def test_any_text_is_resolved_or_a_selector_error(values: list[str], models: list[Model]) -> None:
    """Whatever a user types: items of known models, or SelectorError, nothing else."""
    with contextlib.suppress(SelectorError):
        items = resolve(parse_selectors(values), ModelIndex(models)).items
        assert items
        assert {item.model.name for item in items} <= {entry.name for entry in models}


_known = st.sampled_from(["a", "b", "d/a", "d:a", "e/b", "t", "u", "all", "d/all", "/a"])
_selectors = st.builds(
    lambda head, parameters: ":".join([head, *parameters]),
    _known,
    st.lists(st.sampled_from(["x", "x=1", "y=", "y=1|2"]), max_size=2),
)
_FULL = [model("a", "t"), model("b"), model("d/a", "t", "u"), model("d/b", "u"), model("e/b")]


@given(st.lists(_selectors, min_size=1, max_size=5))
def test_order_and_duplicates(selectors: list[str]) -> None:
    """Contract 5: no item twice; a list of selectors is the concatenation without later repeats."""
    index = ModelIndex(_FULL)
    items = resolve(parse_selectors(selectors), index).items
    keys = [(item.model.name, arguments_text(item)) for item in items]
    assert len(set(keys)) == len(keys)
    single = [resolve(parse_selectors([selector]), index).items for selector in selectors]
    assert keys == list(
        dict.fromkeys((item.model.name, arguments_text(item)) for group in single for item in group)
    )
    order = [entry.name for entry in _FULL]
    for group in single:
        positions = [order.index(item.model.name) for item in group]
        assert positions == sorted(positions)


@given(st.lists(_selectors, min_size=1, max_size=5))
def test_commas_and_repetition_are_the_same(selectors: list[str]) -> None:
    """Contract 5: `a,b` is `a b`, with any blanks around."""
    index = ModelIndex(_FULL)
    joined = resolve(parse_selectors([" , ".join(selectors)]), index)
    assert joined == resolve(parse_selectors(selectors), index)


def test_last_swept_parameter_varies_fastest() -> None:
    """Contract 5: the cartesian product in the order given."""
    found = parse_parameters(["a=1|2", "flag", "b=x|y"])
    assert found[0] == (Parameter("a", "1"), Parameter("flag"), Parameter("b", "x"))
    assert [(each[0].value, each[2].value) for each in found] == [
        ("1", "x"),
        ("1", "y"),
        ("2", "x"),
        ("2", "y"),
    ]
