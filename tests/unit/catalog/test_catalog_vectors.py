"""The vectors of contract 5.1, on real trees, through the service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pytest_madengine.catalog.ids import arguments_text, environment_parameters, full_args, item_name
from pytest_madengine.catalog.service import Selection, select_models
from pytest_madengine.errors import SelectorError

ALL_SEVEN = [
    "dummy",
    "dummy2",
    "dummy3",
    "dummy2/model1",
    "dummy2/model2",
    "dummy3/model3",
    "dummy3/model4",
]
#: tree, selectors, [(item, added to args)]
VECTORS: list[tuple[str, list[str], list[tuple[str, str]]]] = [
    ("T", ["dummy,dummy2"], [("dummy", ""), ("dummy2", "")]),
    ("T", ["dummy", "dummy2"], [("dummy", ""), ("dummy2", "")]),
    ("T", [" dummy , dummy2 "], [("dummy", ""), ("dummy2", "")]),
    ("T", ["dummy", "dummy"], [("dummy", "")]),
    ("T", [":dummy"], [("dummy", "")]),
    ("T", ["dummy", "dummy_group_1"], [("dummy", ""), ("dummy2", "")]),
    ("T", ["dummy2/model2"], [("dummy2/model2", "")]),
    ("T", ["dummy2/model2:batch-size=32"], [("dummy2/model2[batch-size=32]", " --batch-size 32")]),
    ("T", ["dummy3/model4:bs16"], [("dummy3/model4[bs16]", " --bs16")]),
    ("T", ["dummy2:model2"], [("dummy2/model2", "")]),
    ("T", ["/dummy2:model2"], [("dummy2[model2]", " --model2")]),
    ("T", ["dummy2:dummy_2"], [("dummy2[dummy_2]", " --dummy_2")]),
    ("R", ["dummy2:dummy_2"], [("dummy2/dummy_2", "")]),
    ("R", ["dummy_2"], [("dummy2/dummy_2", "")]),
    (
        "R",
        ["dummy2:dummy_2:batch_size=512:in=32:out=16"],
        [("dummy2/dummy_2[batch_size=512:in=32:out=16]", " --batch_size 512 --in 32 --out 16")],
    ),
    (
        "R",
        ["dummy3/dummy_3:batch_size=512:in=32"],
        [("dummy3/dummy_3[batch_size=512:in=32]", " --batch_size 512 --in 32")],
    ),
    (
        "R",
        ["dummy3:dummy_3:bs=1|2"],
        [("dummy3/dummy_3[bs=1]", " --bs 1"), ("dummy3/dummy_3[bs=2]", " --bs 2")],
    ),
    (
        "T",
        ["dummy_test_group_1,dummy_test_group_2,dummy_test_group_3"],
        [
            ("dummy", ""),
            ("dummy2/model1", ""),
            ("dummy2/model2", ""),
            ("dummy3/model3", ""),
            ("dummy3/model4", ""),
        ],
    ),
    ("T", ["dummy2/dummy_test_group_2"], [("dummy2/model1", ""), ("dummy2/model2", "")]),
    ("T", ["dummy2/all"], [("dummy2/model1", ""), ("dummy2/model2", "")]),
    ("T", ["dummies:x=1"], [(f"{name}[x=1]", " --x 1") for name in ALL_SEVEN]),
    ("T", ["all"], [(name, "") for name in ALL_SEVEN]),
    ("T", ["all:x"], [(f"{name}[x]", " --x") for name in ALL_SEVEN]),
    ("T", ["model3"], [("dummy3/model3", "")]),
    ("T", ["dummy3/model3", "dummy_test_group_3"], [("dummy3/model3", ""), ("dummy3/model4", "")]),
    ("T", ["dummy:a=1", "dummy:a=2", "dummy:a=1"], [("dummy[a=1]", " --a 1"), ("dummy[a=2]", " --a 2")]),
    (
        "T",
        ["dummy:a=1|2:b=x|y"],
        [
            ("dummy[a=1:b=x]", " --a 1 --b x"),
            ("dummy[a=1:b=y]", " --a 1 --b y"),
            ("dummy[a=2:b=x]", " --a 2 --b x"),
            ("dummy[a=2:b=y]", " --a 2 --b y"),
        ],
    ),
    ("T", ["dummy:a=b=c"], [("dummy[a=b=c]", " --a b=c")]),
]


def select(root: Path, selectors: list[str]) -> Selection:
    return select_models(root, selectors, environ={})


@pytest.mark.parametrize("tree, selectors, expected", VECTORS, indirect=["tree"])
def test_vector(tree: Path, selectors: list[str], expected: list[tuple[str, str]]) -> None:
    """Contract 5.1: items, their order, and what is added to args."""
    items = select(tree, selectors).items
    assert [(item_name(item), arguments_text(item)) for item in items] == expected
    assert [full_args(item) for item in items] == [text for _, text in expected]


def test_parameters_as_environment(tree: Path) -> None:
    """Contract 5.1: a bare flag is 1; a name that is no variable name is left out."""
    flag, size = select(tree, ["dummy3/model4:bs16", "dummy2/model2:batch-size=32"]).items
    assert environment_parameters(flag) == {"bs16": "1"}
    assert environment_parameters(size) == {}


def test_directory_form_beats_root_model_with_a_warning(tree: Path) -> None:
    """Contract 5.1: `dummy2:model2` means `dummy2/model2` and the warning names root `dummy2`."""
    (warning,) = select(tree, ["dummy2:model2"]).warnings
    assert "'dummy2/model2', not root model 'dummy2'" in warning.message
    assert "'/dummy2:model2'" in warning.message
    assert select(tree, ["/dummy2:model2", "dummy2:dummy_2"]).warnings == ()


def test_selected_dynamic_model_has_its_final_path(tree: Path) -> None:
    """Contract 5.1: `dummy3/model3 dummy_test_group_3` has `dummy3/model3` once, prefixed once."""
    items = select(tree, ["dummy3/model3", "dummy_test_group_3"]).items
    assert [item.model.scripts for item in items] == ["scripts/dummy3/run.sh"] * 2
    assert [item.model.dockerfile for item in items] == ["docker/dummy"] * 2


def test_unknown_selector_suggests(tree: Path) -> None:
    """Contract 5.1: `dumy` is a usage error that suggests `dummy`."""
    with pytest.raises(SelectorError) as caught:
        select(tree, ["dumy"])
    text = caught.value.message
    assert text.startswith("No models found corresponding to the given tag: dumy (close matches: dummy, ")
    assert text.count(", ") <= 4


@pytest.mark.parametrize("selectors", [[""], [":"], [" "], ["/"], ["dummy,"], []])
def test_empty_selector(tree: Path, selectors: list[str]) -> None:
    """Contract 5.1: empty text, or `:`."""
    with pytest.raises(SelectorError, match=r"Empty selector|nothing is selected"):
        select(tree, selectors)


def test_ambiguous_short_name(tree: Path) -> None:
    """Contract 5.1: tree T + `dummy3/model1`, selector `model1`."""
    file = tree / "scripts/dummy3/get_models_json.py"
    file.write_text(file.read_text().replace("'model3'", "'model1'"))
    with pytest.raises(SelectorError) as caught:
        select(tree, ["model1"])
    assert caught.value.message == "Short name 'model1' is ambiguous: dummy2/model1, dummy3/model1"


def test_two_parametrisations_are_two_items(tree: Path) -> None:
    """Defect 5: given `m:bs=1,m:bs=2` / when selected / then two items with their own args."""
    items = select(tree, ["dummy:bs=1,dummy:bs=2"]).items
    assert [full_args(item) for item in items] == [" --bs 1", " --bs 2"]


def test_unknown_tag_and_entry_without_args(tree: Path) -> None:
    """Defect 19: given an unknown tag, an entry without args / when selected / then close matches
    without docker advice; the entry is selected.
    """
    with pytest.raises(SelectorError) as caught:
        select(tree, ["dummy_grup_1"])
    error = caught.value
    assert "close matches: dummy_group_1" in error.message
    assert "docker" not in (error.message + error.hint).lower()
    assert "args" not in json.loads((tree / "models.json").read_text())[0]
    assert full_args(select(tree, ["dummy"]).items[0]) == ""


def test_dynamic_model_by_name_and_by_tag(tree: Path) -> None:
    """Defect 24: given a dynamic model selected by name and by tag / when selected / then one item,
    path prefixed once.
    """
    selection = select(tree, ["dummy3/model4", "dummy3:model4", "dummy_test_group_3"])
    assert [item_name(item) for item in selection.items] == ["dummy3/model4", "dummy3/model3"]
    assert {item.model.scripts for item in selection.items} == {"scripts/dummy3/run.sh"}


def test_repeated_selection_leaves_paths_alone(tree: Path) -> None:
    """Defect 52: given a dynamic model / when it is selected twice in one process / then its paths
    are stable.
    """
    first, second = (select(tree, ["dummy3/model3"]).items[0].model for _ in range(2))
    assert first == second
    assert first.scripts == "scripts/dummy3/run.sh"
