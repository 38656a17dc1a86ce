"""Entries of one file: types, defaults, errors, warnings (contract sections 3 and 4)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.catalog.entries import Origin, build_models, model_from_manifest, parse_json, rewrite
from pytest_madengine.catalog.fields import KNOWN_FIELDS
from pytest_madengine.catalog.model import Model
from pytest_madengine.errors import CatalogError

ROOT = Origin("models.json")
SCOPED = Origin("scripts/d/models.json", "d")
MINIMAL = {"name": "m", "dockerfile": "docker/m", "scripts": "run.sh"}


def one(entry: dict[str, Any], origin: Origin = ROOT) -> Model:
    return build_models([{**MINIMAL, **entry}], origin).models[0]


def error_of(*entries: object, origin: Origin = ROOT) -> CatalogError:
    with pytest.raises(CatalogError) as caught:
        build_models(list(entries), origin)
    return caught.value


def test_defaults() -> None:
    """Contract 3: defaults; missing args is no error. Made like the dataclass would make it."""
    assert one({}) == Model(name="m", dockerfile="docker/m", scripts="run.sh", raw=MINIMAL)


def test_null_timeouts_texts_and_comments() -> None:
    """faults 5.6, 5.8: given null, booleans as text, and keys with _, then as in madengine."""
    parsed = build_models(
        [{**MINIMAL, "timeout": None, "log_error_pattern_scan": "false", "is_deprecated": "Yes", "_why": 1}],
        ROOT,
    )
    (model,) = parsed.models
    assert (model.timeout, model.log_error_pattern_scan, model.deprecated) == (None, False, True)
    assert parsed.warnings == ()


def test_all_fields() -> None:
    """Contract 3: every field arrives."""
    entry: dict[str, Any] = {
        "name": "m",
        "dockerfile": "docker/m",
        "scripts": "scripts/m/run.sh",
        "n_gpus": "4",
        "args": "--x",
        "tags": ["a", " b ", "", "a"],
        "training_precision": "fp16",
        "owner": "o@x",
        "url": "https://h/r.git",
        "cred": "C",
        "data": "d1,d2",
        "dockercontext": "./docker/ctx",
        "timeout": -1,
        "multiple_results": "r.csv",
        "skip_gpu_arch": "gfx90a",
        "additional_docker_run_options": "--ipc host",
        "is_deprecated": True,
        "env_vars": {"A": "x", "B": 1, "C": True, "D": 1.5},
        "distributed": {"launcher": "torchrun"},
        "slurm": {"nodes": 2},
        "log_error_pattern_scan": False,
        "log_error_patterns": ["X"],
        "log_error_benign_patterns": ["Y"],
    }
    parsed = build_models([entry], ROOT)
    assert parsed.warnings == ()
    assert parsed.models[0] == Model(
        name="m",
        dockerfile="docker/m",
        scripts="scripts/m/run.sh",
        n_gpus=4,
        args="--x",
        tags=("a", "b"),
        training_precision="fp16",
        owner="o@x",
        url="https://h/r.git",
        cred="C",
        data="d1,d2",
        dockercontext="docker/ctx",
        timeout=-1,
        multiple_results="r.csv",
        skip_gpu_arch="gfx90a",
        additional_docker_run_options="--ipc host",
        deprecated=True,
        env_vars={"A": "x", "B": "1", "C": "true", "D": "1.5"},
        distributed={"launcher": "torchrun"},
        slurm={"nodes": 2},
        log_error_pattern_scan=False,
        log_error_patterns=("X",),
        log_error_benign_patterns=("Y",),
        raw=entry,
    )


@pytest.mark.parametrize(
    "entry, expected",
    [
        ({}, 1),
        ({"n_gpus": "-1"}, -1),
        ({"n_gpus": -1}, -1),
        ({"n_gpus": 0}, 0),
        ({"n_gpus": " 8 "}, 8),
        ({"ngpus": 2}, 2),
        ({"ngpus": 2, "num_gpus": 3}, 3),
        ({"ngpus": 2, "num_gpus": 3, "n_gpus": "4"}, 4),
        ({"n_gpus": "4", "gpu_count": 5}, 5),
        ({"gpu_count": 5, "gpus_per_node": 6}, 6),
    ],
)
def test_n_gpus(entry: dict[str, Any], expected: int) -> None:
    """Contract 3: text or number; precedence of the aliases."""
    assert one(entry).n_gpus == expected


@pytest.mark.parametrize("given, expected", [("a, b ,,a", ("a", "b")), ("", ()), ([], ()), (["x"], ("x",))])
def test_tags(given: object, expected: tuple[str, ...]) -> None:
    """Contract 3: a list or a comma separated text."""
    assert one({"tags": given}).tags == expected


@pytest.mark.parametrize("name", ["is_deprecated", "deprecated"])
def test_deprecated(name: str) -> None:
    """Contract 3: both names count."""
    assert one({name: True}).deprecated is True
    assert one({name: False}).deprecated is False


@pytest.mark.parametrize(
    "field, value, text",
    [
        (
            "timeout",
            "12",
            "field 'timeout': should be a whole number of seconds, -1 or more, not the text '12'",
        ),
        ("timeout", -2, "field 'timeout': should be a whole number of seconds, -1 or more, not -2"),
        ("timeout", True, "field 'timeout': should be a whole number of seconds, -1 or more, not true"),
        ("timeout", 1.0, "field 'timeout': should be a whole number of seconds, -1 or more, not 1.0"),
        (
            "timeout",
            10**299,
            "field 'timeout': should be at most 1000000000 seconds (-1: no limit), "
            f"not {repr(10**299)[:57]}...",
        ),
        (
            "n_gpus",
            10**299,
            f"field 'n_gpus': should be -1 (all GPUs), 0 (none) or a count, not '1{39 * '0'}'",
        ),
        ("args", ["--x"], "field 'args': should be a text, not a list"),
        ("args", None, "field 'args': should be a text, not null"),
        ("n_gpus", "-2", "field 'n_gpus': should be -1 (all GPUs), 0 (none) or a count, not '-2'"),
        ("n_gpus", "two", "field 'n_gpus': should be -1 (all GPUs), 0 (none) or a count, not 'two'"),
        ("n_gpus", 1.5, "field 'n_gpus': should be -1 (all GPUs), 0 (none) or a count, not 1.5"),
        ("gpu_count", True, "field 'gpu_count': should be -1 (all GPUs), 0 (none) or a count, not true"),
        ("ngpus", {}, "field 'ngpus': should be -1 (all GPUs), 0 (none) or a count, not an object"),
        ("tags", 1, "field 'tags': should be a list of texts or one comma separated text, not 1"),
        ("tags", ["a", 1], "field 'tags': should be a list of texts or one comma separated text, not 1"),
        (
            "is_deprecated",
            "perhaps",
            "field 'is_deprecated': should be true or false, not the text 'perhaps'",
        ),
        ("env_vars", [], "field 'env_vars': should be an object of texts, numbers or booleans, not a list"),
        (
            "env_vars",
            {"A": ["s3cret"]},
            "field 'env_vars': value of 'A' should be a text, number or boolean, not a list",
        ),
        (
            "env_vars",
            "TOKEN=s3cret",
            "field 'env_vars': should be an object of texts, numbers or booleans, not a text",
        ),
        ("env_vars", {"": "x"}, "field 'env_vars': '' is no name of an environment variable"),
        ("env_vars", {"a=b": "x"}, "field 'env_vars': 'a=b' is no name of an environment variable"),
        ("distributed", "torchrun", "field 'distributed': should be an object, not the text 'torchrun'"),
        (
            "log_error_patterns",
            "X",
            "field 'log_error_patterns': should be a list of texts, not the text 'X'",
        ),
        ("name", 1, "field 'name': should be a text, not 1"),
        ("scripts", "", "field 'scripts': is missing or empty"),
        ("scripts", "../x.sh", "field 'scripts': the path '../x.sh' leaves the MAD root"),
        ("scripts", "a/../../x", "field 'scripts': the path 'a/../../x' leaves the MAD root"),
        ("dockerfile", "/etc/x", "field 'dockerfile': the path '/etc/x' leaves the MAD root"),
        ("dockerfile", "a\0b", "field 'dockerfile': contains a NUL character"),
        ("dockercontext", "..", "field 'dockercontext': the path '..' leaves the MAD root"),
    ],
)
def test_field_errors(field: str, value: object, text: str) -> None:
    """Contract 3: a wrong type, also a timeout below -1 (10.8), names file, entry and field."""
    error = error_of(MINIMAL, {**MINIMAL, "name": "m3", field: value})
    place = "entry 2" if field == "name" else "entry 2 ('m3')"
    assert error.message == f"models.json: {place}: {text}"


def test_error_text_of_the_contract() -> None:
    """Contract 3: `scripts/dummy2/models.json: entry 3 ('model3'): ...`; entries count from 1."""
    entries = [{**MINIMAL, "name": f"model{number}"} for number in (1, 2, 3)]
    entries[2]["timeout"] = "x"
    error = error_of(*entries, origin=Origin("scripts/dummy2/models.json", "dummy2"))
    assert error.message.startswith("scripts/dummy2/models.json: entry 3 ('model3'): field 'timeout': ")


@pytest.mark.parametrize("char", ["/", ":", "\\", "\n", "\x7f"])
def test_reserved_characters(char: str) -> None:
    """Contract 4: reserved characters in names and tags are errors naming file and entry."""
    name = error_of({**MINIMAL, "name": f"a{char}b"}, origin=SCOPED).message
    assert name.startswith("scripts/d/models.json: entry 1 (")
    assert "field 'name': must not contain" in name
    tag = error_of({**MINIMAL, "tags": ["ok", f"x{char}y"]}, origin=SCOPED).message
    assert tag.startswith("scripts/d/models.json: entry 1 ('m'): field 'tags': tag ")


def test_missing_fields_are_all_told() -> None:
    """Contract 3: name, dockerfile and scripts are required; one error tells all problems."""
    error = error_of({})
    assert (
        error.message == "models.json: entry 1: field 'name': is missing or empty (and 2 more in this file)"
    )
    assert error.log_tail[0] == "models.json: entry 1: field 'scripts': is missing or empty"
    assert "DOCKER_IMAGE_NAME" in error.log_tail[1]


def test_many_problems_are_limited() -> None:
    """A large broken file is one readable error."""
    error = error_of(*({"name": 1} for _ in range(50)))
    assert error.message.endswith("(and 49 more in this file)")
    assert len(error.log_tail) == 20
    assert error.log_tail[-1] == "... and 30 more"


def test_dockerfile_is_not_needed_with_an_image() -> None:
    """Contract 3: dockerfile is required unless an image is given; a placeholder is none."""
    entry = {"name": "m", "scripts": "run.sh"}
    with_image = {**entry, "env_vars": {"DOCKER_IMAGE_NAME": "r/i:1"}}
    model = build_models([with_image], ROOT).models[0]
    assert (model.dockerfile, model.prebuilt_image) == ("", "r/i:1")
    given = Origin("models.json", image_given=True)
    assert build_models([entry], given).models[0].dockerfile == ""
    placeholder = error_of({**entry, "env_vars": {"DOCKER_IMAGE_NAME": "<image>"}})
    assert "field 'dockerfile': is missing" in placeholder.message


def test_duplicates() -> None:
    """Contract 3: a duplicate full name is an error naming both entries."""
    error = error_of(MINIMAL, {**MINIMAL, "name": "other"}, MINIMAL)
    assert error.message == ("models.json: entry 3 ('m'): field 'name': duplicate, entry 1 has the same name")


@pytest.mark.parametrize(
    "value, text",
    [
        ({}, "models.json: should be a JSON array of entries, not an object"),
        (None, "models.json: should be a JSON array of entries, not null"),
        ("x", "models.json: should be a JSON array of entries, not the text 'x'"),
        ([MINIMAL, 7], "models.json: entry 2: should be an object, not 7"),
        ([[]], "models.json: entry 1: should be an object, not a list"),
    ],
)
def test_wrong_shape(value: object, text: str) -> None:
    """A file that is no array of objects."""
    with pytest.raises(CatalogError) as caught:
        build_models(value, ROOT)
    assert caught.value.message == text


def test_long_values_are_cut() -> None:
    """An error stays one readable line."""
    assert len(error_of({**MINIMAL, "name": "n" * 500, "timeout": "t" * 500}).message) < 250


@pytest.mark.parametrize(
    "data, text",
    [
        (b'[\n  {"name": }\n]', "invalid JSON at line 2, column 12: Expecting value"),
        (b"", "invalid JSON at line 1, column 1: Expecting value"),
        (b'[\n "\xff"]', "invalid JSON at line 2, column 3: not UTF-8 text"),
        (b"[" * 100_000, "invalid JSON: nested deeper than 100"),
        (b"[" + b"1" * 5000 + b"]", "invalid JSON: a number of 5,000 digits"),
        (b'["\\ud83d"]', r"invalid JSON: lone surrogate '\ud83d'"),
    ],
    ids=["syntax", "empty", "encoding", "nesting", "digits", "surrogate"],
)
def test_invalid_json(data: bytes, text: str) -> None:
    """Contract 4: invalid JSON is an error naming file and position."""
    with pytest.raises(CatalogError) as caught:
        parse_json(data, "scripts/d/models.json")
    assert caught.value.message.startswith(f"scripts/d/models.json: {text}")


def test_byte_order_mark() -> None:
    """A file saved with a byte order mark is read."""
    assert parse_json(b"\xef\xbb\xbf[]", "x") == []


def test_escaped_surrogate_pair() -> None:
    """A complete pair is an ordinary character."""
    assert parse_json(rb'["\ud83d\ude00"]', "x") == ["\U0001f600"]


def test_unknown_fields() -> None:
    """Contract 3: any other field is kept; one warning per field, with did-you-mean."""
    entries: list[dict[str, Any]] = [
        {**MINIMAL, "name": f"m{i}", "env": {"A": 1}, "dokerfile": "x"} for i in range(3)
    ]
    entries[1]["quite_other"] = [1]
    parsed = build_models(entries, ROOT)
    assert [warning.message for warning in parsed.warnings] == [
        "models.json: entry 1 ('m0') and 2 more: unknown field 'dokerfile' has no effect; "
        "did you mean 'dockerfile'?",
        "models.json: entry 1 ('m0') and 2 more: unknown field 'env' has no effect; did you mean 'env_vars'?",
        "models.json: entry 2 ('m1'): unknown field 'quite_other' has no effect",
    ]
    assert parsed.models[1].raw == entries[1]


def test_fields_of_a_custom_model_subclass_are_no_typos() -> None:
    """Contract 6: subclasses have fields of their own; only likely typos are warned about."""
    entry = {**MINIMAL, "my_own": 1, "env": {}}
    (warning,) = build_models([entry], Origin("scripts/d/get_models_json.py", "d", dynamic=True)).warnings
    assert "'env'" in warning.message


@pytest.mark.parametrize(
    "value, scope, expected",
    [
        ("../../docker/dummy", "d", "docker/dummy"),
        ("run.sh", "d", "scripts/d/run.sh"),
        ("./a//b/./c/", "", "a/b/c"),
        ("docker/dummy", "", "docker/dummy"),
        ("..x/.y", "", "..x/.y"),
        (".", "d", "scripts/d"),
    ],
)
def test_rewrite(value: str, scope: str, expected: str) -> None:
    """Contract 4: normpath of scripts/<dir>/<value>."""
    assert rewrite(value, scope) == expected


def test_scoped_entry() -> None:
    """Contract 4: name and paths of a static entry of scripts/<dir>; tags are never prefixed."""
    model = one({"dockerfile": "../../docker/dummy", "tags": ["t"], "name": "model1"}, SCOPED)
    assert (model.name, model.short_name, model.scope) == ("d/model1", "model1", "d")
    assert (model.dockerfile, model.scripts, model.tags) == ("docker/dummy", "scripts/d/run.sh", ("t",))
    assert model.raw["name"] == "d/model1"
    assert (model.raw["dockerfile"], model.raw["scripts"]) == ("docker/dummy", "scripts/d/run.sh")


def test_scoped_path_leaves_the_root() -> None:
    """Contract 4: a path that leaves the MAD root is an error."""
    error = error_of({**MINIMAL, "dockerfile": "../../../docker/dummy"}, origin=SCOPED)
    assert error.message.endswith("field 'dockerfile': the path '../../../docker/dummy' leaves the MAD root")


def test_provisional_entries_may_lack_paths() -> None:
    """Contract 6: before update_model() paths may be missing or wrong."""
    origin = Origin("scripts/d/get_models_json.py", "d", dynamic=True, provisional=True)
    (model,) = build_models([{"name": "m", "dockerfile": "../../../x"}], origin).models
    assert (model.name, model.dockerfile, model.scripts, model.dynamic) == ("d/m", "../../../x", "", True)


def test_positions_of_a_part_of_a_file() -> None:
    """Models and errors know their place in the file, not in the part."""
    entries = [{**MINIMAL, "name": "a"}, {**MINIMAL, "name": "b"}]
    assert [model.index for model in build_models(entries, ROOT, positions=[4, 2]).models] == [4, 2]
    entries[1]["scripts"] = ""
    with pytest.raises(CatalogError, match=r"entry 3 \('b'\)"):
        build_models(entries, ROOT, positions=[4, 2])


def test_entries_are_not_changed() -> None:
    """Defect 52: given lists of the user / when models are made twice / then they are unchanged."""
    entries = [{**MINIMAL, "tags": [" a ", "a"], "env_vars": {"A": 1}, "dockerfile": "../../docker/x"}]
    before = json.dumps(entries)
    assert build_models(entries, SCOPED) == build_models(entries, SCOPED)
    assert json.dumps(entries) == before


def test_manifest_entry() -> None:
    """Contract 9.2: a block of built_models has its full name and final paths."""
    block = {**MINIMAL, "name": "d/m", "scripts": "scripts/d/run.sh", "madengine_params": {}}
    model = model_from_manifest(block, "build_manifest.json")
    assert (model.name, model.scope, model.short_name) == ("d/m", "d", "m")
    assert (model.scripts, model.raw, model.source) == ("scripts/d/run.sh", block, "build_manifest.json")
    assert model_from_manifest(MINIMAL, "x").name == "m"
    for name in (None, "a/b/", 7):
        with pytest.raises(CatalogError, match="field 'name'"):
            model_from_manifest({**MINIMAL, "name": name}, "x")


# Properties

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_entry = st.dictionaries(st.sampled_from(sorted(KNOWN_FIELDS)) | st.text(max_size=4), _json, max_size=6)
_nearly = _entry.map(lambda entry: {**MINIMAL, **entry})
_origins = st.sampled_from([ROOT, SCOPED, Origin("scripts/d/get_models_json.py", "d", True, True, True)])


@given(_json | st.lists(_entry | _nearly, max_size=3), _origins)
def test_any_json_value_is_models_or_a_catalog_error(value: object, origin: Origin) -> None:
    """Any JSON value: models with unique names and paths inside the root, or CatalogError."""
    with contextlib.suppress(CatalogError):
        models = build_models(value, origin).models
        assert isinstance(value, list)
        assert len({model.name for model in models}) == len(value) == len(models)
        for model in models:
            assert model.n_gpus >= -1
            assert origin.provisional or not model.scripts.startswith(("/", "../"))
            assert all(isinstance(text, str) for text in model.env_vars.values())


@given(st.binary(max_size=40) | _json.map(lambda value: json.dumps(value).encode()))
def test_any_file_content_is_a_value_or_a_catalog_error(data: bytes) -> None:
    """Any bytes: a JSON value or CatalogError."""
    with contextlib.suppress(CatalogError):
        parse_json(data, "models.json")


@given(st.text(alphabet="ab./", max_size=12), st.sampled_from(["", "d"]))
def test_rewritten_paths_are_normal(value: str, scope: str) -> None:
    """Rewriting a rewritten path changes nothing: the short cut for normal paths is right."""
    import posixpath

    if value:
        path = rewrite(value, scope)
        assert path == posixpath.normpath(f"scripts/{scope}/{value}" if scope else value)
        assert rewrite(path, "") == path
