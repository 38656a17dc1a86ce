"""Names of images, containers and logs; labels (contract 8.2)."""

from __future__ import annotations

import re

import pytest
from docker.utils import parse_repository_tag
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.images.naming import (
    container_name,
    image_name,
    is_reference,
    log_name,
    parameter_hash,
    random_suffix,
    repaired_image_name,
)

CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@pytest.mark.parametrize(
    ("model", "base", "expected"),
    [
        pytest.param("dummy", "dummy.ubuntu.amd", "ci-dummy_dummy.ubuntu.amd", id="8.2-dummy"),
        pytest.param("Upper/Case", "base", "ci-upper_case_base", id="8.2-upper"),
        pytest.param("dummy2/dummy_2", "d.ubuntu", "ci-dummy2_dummy_2_d.ubuntu", id="directory"),
    ],
)
def test_image_names(model: str, base: str, expected: str) -> None:
    """Contract 8.2, image."""
    assert image_name(model, base) == expected
    assert repaired_image_name(model, base).note == ""


def test_image_name_with_parameters_and_architecture() -> None:
    """Contract 8.2: 8 hex digits over sorted names and values, then the architecture."""
    plain = image_name("dummy", "dummy.ubuntu.amd")
    named = image_name("dummy", "dummy.ubuntu.amd", {"b": "2", "a": "1"}, "gfx942")
    assert re.fullmatch(re.escape(plain) + r"-[0-9a-f]{8}_gfx942", named)
    assert named == image_name("dummy", "dummy.ubuntu.amd", {"a": "1", "b": "2"}, "gfx942")
    assert named != image_name("dummy", "dummy.ubuntu.amd", {"a": "12", "b": ""}, "gfx942")
    assert parameter_hash({"a": "1"}) != parameter_hash({"a": "2"})


@pytest.mark.parametrize(
    ("model", "base", "expected"),
    [
        pytest.param("m", "M.Ubuntu", "ci-m_m.ubuntu", id="upper-case-base"),
        pytest.param("a b", "c", "ci-a-b_c", id="blank"),
        pytest.param("m___x", "c", "ci-m-x_c", id="three-underscores"),
        pytest.param("é", "x.", "ci-x", id="not-ascii"),
        pytest.param("'; touch x; $(id) \"", "b", "ci--touch-x-id-b", id="shell"),
    ],
)
def test_names_that_docker_would_reject_are_repaired_and_reported(
    model: str, base: str, expected: str
) -> None:
    """Contract 8.2: lower case, invalid runs become a hyphen, and a note says so."""
    name = repaired_image_name(model, base)
    assert name.text == expected
    assert expected in name.note


def test_long_names_are_cut_and_stay_apart() -> None:
    first, second = image_name("m", "x" * 400), image_name("m", "x" * 401)
    # faults 2.13: with docker.io/library/ before it, or a registry, docker still accepts it.
    assert len(first) <= 200
    assert first != second
    assert len(log_name("m" * 300, "b", "")) <= 200


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text(), max_size=3), st.text(max_size=9))
def test_every_image_name_is_a_reference(
    model: str, base: str, parameters: dict[str, str], arch: str
) -> None:
    name = image_name(model, base, parameters, arch)
    assert is_reference(name)
    assert parse_repository_tag(name) == (name, None)


@given(st.text(), st.text(), st.text())
def test_container_and_log_names_are_always_valid(model: str, base: str, params: str) -> None:
    container = container_name(image_name(model, base), random_suffix())
    assert CONTAINER.fullmatch(container)
    assert CONTAINER.fullmatch(container_name(base, "9a0b1c2d"))
    log = f"{log_name(model, base, params)}.build.live.log"
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,255}", log)


def test_container_names() -> None:
    """Contract 8.2, container."""
    assert (
        container_name("ci-dummy_dummy.ubuntu.amd", "9a0b1c2d")
        == "container_ci-dummy_dummy.ubuntu.amd_9a0b1c2d"
    )
    assert container_name("localhost:5000/a/b:c", "9a0b1c2d") == "container_localhost_5000_a_b_c_9a0b1c2d"


def test_container_names_of_two_runs_differ() -> None:
    """Defect 11: given two runs of one model / when named / then the container names differ."""
    names = {container_name("ci-m_b", random_suffix()) for _ in range(20)}
    assert len(names) == 20


@pytest.mark.parametrize(
    ("model", "base", "params", "expected"),
    [
        pytest.param("dummy", "dummy.ubuntu.amd", "", "dummy_dummy.ubuntu.amd", id="8.2-dummy"),
        pytest.param("Upper/Case", "b", "", "Upper_Case_b", id="8.2-upper"),
        pytest.param("m", "b", "bs=1:x y", "m_b_bs_1_x_y", id="8.2-parameters"),
        pytest.param("m", "", "", "m", id="given-image"),
    ],
)
def test_log_names(model: str, base: str, params: str, expected: str) -> None:
    """Contract 8.2, logs."""
    assert log_name(model, base, params) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "ubuntu:22.04",
        "localhost:5000/team/x:ci-dummy_dummy.ubuntu.amd",
        "gcr.io/ml-bench/ci-m",
        "Registry.Example.com/a/b__c:T_1",
        "[::1]:5000/a",
        "rocm/pytorch@sha256:" + "a" * 64,
        "sha256:" + "0" * 64,
    ],
)
def test_references(text: str) -> None:
    assert is_reference(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-a",
        "--all",
        "A",
        "a b",
        "a:",
        "a//b",
        "a/",
        "a;b",
        "a@sha256:12",
        "a\n",
        "$(id)",
        "a" * 300,
        "a:-x",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    """Defect 26: given an image name that looks like an option / when checked / then it is refused."""
    assert not is_reference(text)
