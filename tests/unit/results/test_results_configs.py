"""Contract 12.6: the configuration file named in ``args``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.results.configs import SIZE_LIMIT, config_path, match_config, read_configs


def write(root: Path, name: str, text: str = "a: 1\n") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ("--config a.yaml", "a.yaml"),
        ("--x 1 --config=a b.csv", "a"),
        ("--config 'a b.csv' --y", "a b.csv"),
        ("--config a.csv --config b.csv", "b.csv"),
        ("--config --batch 4", ""),
        ("--config", ""),
        ("--batch 4", ""),
        ("--configs a.csv", ""),
        ("it's --config a.csv", "a.csv"),
        ("", ""),
    ],
)
def test_config_path(args: str, path: str) -> None:
    assert config_path(args) == path


@pytest.mark.parametrize(
    ("scripts", "existing"),
    [
        ("scripts/vllm/run.sh", "scripts/vllm/configs/default.yaml"),
        ("scripts/MAD/vllm/run.sh", "scripts/MAD/configs/default.yaml"),
        ("scripts/MAD-private/a/b/run.sh", "scripts/MAD-private/a/configs/default.yaml"),
        ("scripts/vllm", "scripts/vllm/configs/default.yaml"),
        ("scripts/vllm", "scripts/configs/default.yaml"),
        ("scripts/a/b/c/run.sh", "scripts/a/configs/default.yaml"),
        ("bench/run.sh", "bench/configs/default.yaml"),
    ],
)
def test_where_a_relative_path_is_found(tmp_path: Path, scripts: str, existing: str) -> None:
    """Contract 12.6."""
    write(tmp_path, existing)
    if not scripts.endswith(".sh"):
        (tmp_path / scripts).mkdir(parents=True, exist_ok=True)
    assert read_configs("--config configs/default.yaml", scripts, tmp_path) == ({"a": 1}, [])


def test_nearest_file_wins_and_the_root_is_not_searched(tmp_path: Path) -> None:
    write(tmp_path, "scripts/a/c.json", '{"near": true}')
    write(tmp_path, "scripts/c.json", "{}")
    assert read_configs("--config c.json", "scripts/a/run.sh", tmp_path)[0] == {"near": True}
    write(tmp_path, "d.json", "{}")
    assert read_configs("--config d.json", "scripts/a/run.sh", tmp_path)[0] is None


@pytest.mark.parametrize(
    ("args", "warned"),
    [("--config missing.csv", True), ("--batch 4", False), ("--config /nowhere/x.csv", True)],
)
def test_nothing_to_read(tmp_path: Path, args: str, warned: bool) -> None:
    """Contract 12.6: null, with a warning only when a file was named."""
    configs, warnings = read_configs(args, "scripts/a/run.sh", tmp_path)
    assert configs is None
    assert bool(warnings) is warned


def test_absolute_path_is_used_as_it_is(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/x.json", "[1]")
    path = tmp_path / "elsewhere/x.json"
    assert read_configs(f"--config {path}", "scripts/a/run.sh", tmp_path / "root") == ([1], [])


def test_relative_path_does_not_leave_the_root(tmp_path: Path) -> None:
    write(tmp_path, "secret.json", "{}")
    write(tmp_path, "root/scripts/a/run.sh")
    configs, warnings = read_configs("--config ../../../secret.json", "scripts/a/run.sh", tmp_path / "root")
    assert configs is None
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "c.csv",
            "model, batch\nllama, 4\n\n , \nbert,\n",
            [{"model": "llama", "batch": "4"}, {"model": "bert", "batch": None}],
        ),
        ("c.csv", "", []),
        ("c.csv", "a,,b\n1\n", [{"a": "1", "b": None}]),
        ("c.json", '{"a": [1, 2.5, null, "x"]}', {"a": [1, 2.5, None, "x"]}),
        ("c.json", '{"a": NaN}', {"a": "nan"}),
        ("c.yml", "a: 2024-01-01\n2: [yes]\n", {"a": "2024-01-01", "2": [True]}),
        ("c.yaml", "!!set {b, a}\n", ["a", "b"]),
        ("c.YAML", "x: &y [1]\nz: *y\n", {"x": [1], "z": [1]}),
    ],
)
def test_formats(tmp_path: Path, name: str, text: str, expected: Any) -> None:
    """Contract 12.6; the result is always writable as JSON."""
    write(tmp_path, f"scripts/a/{name}", text)
    configs, warnings = read_configs(f"--config {name}", "scripts/a/run.sh", tmp_path)
    assert (configs, warnings) == (expected, [])
    assert json.loads(json.dumps(configs, allow_nan=False)) == expected


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", "a = 1"),
        ("c", "a"),
        ("c.json", "{"),
        ("c.json", "[" * 100_000),
        ("c.json", "[" * 150 + "]" * 150),
        ("c.json", "1" * 5000),
        ("c.yaml", "a: ["),
        ("c.yaml", "a: !!python/object:os.system x"),
        ("c.yaml", "a: !!int ''"),
        ("c.yaml", "a: !!timestamp x"),
        ("c.yaml", "a: 0x" + "f" * 5000),
        ("c.yaml", "&a [*a]"),
        ("c.yaml", BOMB),
        ("c.csv", f"a\n{'x' * 140_000}\n"),
        ("c.json", " " * (SIZE_LIMIT + 1)),
    ],
    ids=range(15),
)
def test_what_cannot_be_read_is_null_with_a_warning(tmp_path: Path, name: str, text: str) -> None:
    """Contract 12.6."""
    write(tmp_path, f"scripts/a/{name}", text)
    configs, warnings = read_configs(f"--config {name}", "scripts/a/run.sh", tmp_path)
    assert configs is None
    assert len(warnings) == 1
    assert "\n" not in warnings[0]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, "scripts/a/c.json")
    (tmp_path / "scripts/a/c.json").write_bytes(b"\xff\xfe\x00")
    assert len(read_configs("--config c.json", "scripts/a/run.sh", tmp_path)[1]) == 1
    assert len(read_configs(f"--config {'x' * 300}.json", "scripts/a/run.sh", tmp_path)[1]) == 1


@given(st.sampled_from([".json", ".yaml", ".csv"]), st.text(max_size=60))
def test_any_text_is_json_or_a_warning(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, text: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "configs-property"
    path = root / f"scripts/c{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    configs, warnings = read_configs(f"--config c{suffix}", "scripts/run.sh", root)
    json.dumps(configs, allow_nan=False)
    assert configs is None or not warnings


ROWS = [
    {"model": "meta-llama/Llama-3-8B", "benchmark": "latency", "x": "1"},
    {"model": "meta-llama/Llama-3-8B", "benchmark": "throughput", "x": "2"},
    {"model": "bert", "x": "3"},
    {"model": "bert_large", "x": "4"},
    {"model": None, "x": "5"},
]


@pytest.mark.parametrize(
    ("row_model", "benchmark", "x"),
    [
        ("meta-llama_Llama-3-8B", "throughput", "2"),
        ("META_LLAMA/llama_3_8b", "", "1"),
        ("vllm_meta-llama/Llama-3-8B_fp16", "latency", "1"),
        ("bert", "latency", "3"),
        ("bert-large", "", "4"),
    ],
)
def test_matching_rows(row_model: str, benchmark: str, x: str) -> None:
    """Contract 12.6."""
    row, warning = match_config(ROWS, row_model, benchmark)
    assert (row["x"], warning) == (x, "")


@pytest.mark.parametrize("row_model", ["gpt", ""])
def test_no_matching_row(row_model: str) -> None:
    row, warning = match_config(ROWS, row_model)
    assert row == ROWS[0]
    assert "the first one is recorded" in warning


@pytest.mark.parametrize(
    ("configs", "expected"),
    [([{"model": "z"}], {"model": "z"}), ([], None), (None, None), ({"a": 1}, {"a": 1})],
)
def test_single_rows_and_other_values(configs: Any, expected: Any) -> None:
    assert match_config(configs, "m") == (expected, "")
