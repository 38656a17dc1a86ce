"""Reading Dockerfiles: arguments, base image, secrets, named contexts (contract 8.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.images.dockerfile import (
    base_image,
    declared_args,
    references_build_context,
    secret_mounts,
    uses_secret_mounts,
)
from pytest_madengine.images.syntax import instructions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ARG A\nARG B=1\n", {"A": None, "B": "1"}, id="plain"),
        pytest.param("ARG A=\"x y\" B='z' C", {"A": "x y", "B": "z", "C": None}, id="several"),
        pytest.param("arg a=1\n  ARG\tB=2", {"a": "1", "B": "2"}, id="lower-case-and-tabs"),
        pytest.param("ARG A\nFROM x\nARG A=2\nARG A=3", {"A": "2"}, id="first-default"),
        pytest.param("ARG \\\n  # note\n\n  A=1 \\  \n  B=2\nFROM x", {"A": "1", "B": "2"}, id="continued"),
        pytest.param("# escape=`\nARG A=1 `\n B=2", {"A": "1", "B": "2"}, id="escape"),
        pytest.param(
            "# CONTEXT {}\n# escape=`\nARG A=1 \\\n B=2", {"A": "1", "B": "2"}, id="not-a-directive"
        ),
        pytest.param("#ARG A=1\n# ARG B\nFROM x", {}, id="comments"),
        pytest.param("FROM x\nRUN <<EOF\nARG A=1\nEOF\nARG B=2", {"B": "2"}, id="heredoc"),
        pytest.param("FROM x\nRUN <<-'E' cat\n\tARG A\n\tE\nARG B", {"B": None}, id="heredoc-dash"),
        pytest.param("FROM x\nRUN cat <<EOF\nARG A=1", {"A": "1"}, id="heredoc-without-end"),
        pytest.param("FROM x\nRUN cat <<< word\nARG A=1", {"A": "1"}, id="here-string"),
        pytest.param("ARG A=1 # no comment here", {"A": "1"}, id="trailing"),
        pytest.param("ARG A=1\r\nARG B=2\r\n", {"A": "1", "B": "2"}, id="crlf"),
        pytest.param("\ufeffARG A=1", {"A": "1"}, id="bom"),
        pytest.param("ARG A=1 \\", {"A": "1"}, id="continued-at-end"),
        pytest.param("ARG A=1 \\\n# only a comment follows", {"A": "1"}, id="continued-into-comment"),
        pytest.param('ARG A="a\\"b" B=c\\ d', {"A": 'a"b', "B": "c d"}, id="escapes"),
        pytest.param("# syntax=docker/dockerfile:1\n# check=skip=all\nARG A", {"A": None}, id="directives"),
        pytest.param("# syntax=docker/dockerfile:1", {}, id="only-a-directive"),
    ],
)
def test_declared_args(text: str, expected: dict[str, str | None]) -> None:
    assert declared_args(text) == expected


@pytest.mark.parametrize(
    ("text", "build_args", "expected"),
    [
        pytest.param("ARG BASE_DOCKER=a\nFROM $BASE_DOCKER", {"BASE_DOCKER": "u"}, "u", id="8.3-build-arg"),
        pytest.param("FROM x\nARG BASE_DOCKER=a", {}, "a", id="8.3-base-docker"),
        pytest.param("ARG BASE_IMAGE=b\nARG BASE_DOCKER=a", {}, "a", id="8.3-base-docker-first"),
        pytest.param("ARG BASE_DOCKER=a\nARG BASE_DOCKER=z", {}, "a", id="8.3-first-of-two"),
        pytest.param("ARG BASE_IMAGE=b\nFROM $BASE_IMAGE", {}, "b", id="8.3-base-image"),
        pytest.param(
            "ARG BASE_IMAGE=b\nFROM $BASE_IMAGE", {"BASE_IMAGE": "c"}, "c", id="base-image-overridden"
        ),
        pytest.param("ARG BASE_DOCKER\nFROM x:1", {}, "x:1", id="8.3-no-default"),
        pytest.param("ARG BASE_DOCKER=\nFROM x:1", {}, "x:1", id="empty-default"),
        pytest.param("from --platform=linux/amd64 x:1 AS y\nFROM z", {}, "x:1", id="8.3-from"),
        pytest.param("ARG V=22.04\nARG R=ubuntu\nFROM ${R}:$V", {}, "ubuntu:22.04", id="variables"),
        pytest.param("ARG V=1\nFROM a:${V}", {"V": "2"}, "a:2", id="variable-overridden"),
        pytest.param("FROM ${R:-a}:${V:+b}c", {}, "a:c", id="default-and-alternative"),
        pytest.param("ARG V=1\nFROM a:${V:+b}", {}, "a:b", id="alternative"),
        pytest.param(
            "ARG V=1\nARG BASE_DOCKER=a:${V}\nFROM $BASE_DOCKER", {}, "a:1", id="default-of-default"
        ),
        pytest.param('FROM "x"', {}, "x", id="quoted"),
        pytest.param("FROM a\\$b", {}, "a$b", id="escaped-dollar"),
        pytest.param("RUN true", {}, "", id="no-from"),
        pytest.param("", {}, "", id="empty"),
    ],
)
def test_base_image(text: str, build_args: dict[str, str], expected: str) -> None:
    """Contract 8.3, row base_docker."""
    assert base_image(text, build_args) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM x\nRUN --mount=type=secret,id=A cat /run/secrets/A", {"A"}),
        (
            "FROM x\nRUN --network=host --mount=id=B,type=secret,env=B --mount=type=cache,target=/x true",
            {"B"},
        ),
        ("FROM x\nRUN --mount=type=secret,target=/run/secrets/C true", {"C"}),
        ("FROM x\nRUN \\\n --mount=type=secret,id=A \\\n true", {"A"}),
        ("FROM x\nRUN --mount=type=secret true", set()),
        ("FROM x\nRUN echo --mount=type=secret,id=A", set()),
        ("FROM x\n# RUN --mount=type=secret,id=A", set()),
    ],
)
def test_secret_mounts(text: str, expected: set[str]) -> None:
    assert secret_mounts(text) == expected
    assert uses_secret_mounts(text) == (bool(expected) or "=secret true" in text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM x\nCOPY --from=tools a b", True),
        ("FROM tools\n", True),
        ("FROM --platform=linux/amd64 tools AS t\n", True),
        ("FROM x\nRUN --mount=type=bind,from=tools,target=/t true", True),
        ("FROM y AS tools\nFROM x\nCOPY --from=tools a b", False),
        ("FROM x\nCOPY tools /tools\nRUN echo --from=tools", False),
        ("FROM x\nCOPY --chown=1 --from=other a b", False),
    ],
)
def test_references_build_context(text: str, expected: bool) -> None:
    assert references_build_context(text, "tools") is expected


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for candidate in (text, "FROM " + text, "ARG " + text, "RUN " + text):
        assert isinstance(base_image(candidate, {}), str)
        declared_args(candidate)
        secret_mounts(candidate)
        references_build_context(candidate, "tools")


@given(st.lists(st.sampled_from(["FROM x", "ARG A=1", "RUN true \\", "  && b", "# c", "", "COPY a b"])))
def test_no_instruction_is_invented(lines: list[str]) -> None:
    keywords = {instruction.keyword for instruction in instructions("\n".join(lines))}
    assert keywords <= {"FROM", "ARG", "RUN", "&&", "COPY"}
