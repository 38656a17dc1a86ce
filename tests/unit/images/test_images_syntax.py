"""Reading Dockerfiles: arguments, base image, secrets, named contexts (contract 8.3)."""

from __future__ import annotations

import fnmatch
import re

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
from pytest_madengine.images.syntax import instructions, takes_another_instruction
from pytest_madengine.images.wildcards import replaced, without_prefix, without_suffix


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


def _marked(text: str) -> list[str]:
    """What a Dockerfile says in its markers: the names of its ARGs."""
    return list(declared_args(text))


@pytest.mark.parametrize(
    "head",
    [
        "RUN <<EOF",
        "RUN <<'EOF'",
        'RUN <<"EOF"',
        "RUN <<\\EOF",
        "RUN 3<<EOF",
        "RUN cat << EOF",
        "RUN <<  EOF  > foo",
        "COPY << 'EOF' /x",
        "RUN cat <<EOF && true",
        "run\tcat <<EOF",
        "COPY <<EOF /x",
        "ADD --chown=1 <<EOF /x",
        "ONBUILD RUN <<EOF",
        "RUN \\\n  <<EOF cat",
        'RUN "a b" <<E"O"F',
        "RUN echo \\' <<EOF",
    ],
)
def test_bodies_are_no_instructions(head: str) -> None:
    """Faults 5.5: given a here-document / when read / then its body is none of the Dockerfile's."""
    assert _marked(f"FROM x\n{head}\nARG BODY\n EOF\n\tEOF\nEOF\nARG AFTER\n") == ["AFTER"]


@pytest.mark.parametrize(
    ("head", "end"),
    [
        ("RUN <<'END-OF-FILE'", "END-OF-FILE"),
        ("COPY <<EOF.sh /x", "EOF.sh"),
        ("COPY <<'a b' /x", "a b"),
        ("RUN <<-EOF", "\t\tEOF"),
        ("RUN <<-'E.1'", "E.1"),
        ("RUN << -EOF", "-EOF"),
        ("RUN <<eo\\'f", "eo'f"),
        ("RUN <<'e'o\\'f", "eo'f"),
        ("RUN <<é", "é"),
        ("RUN cat <<EOF;true", "EOF;true"),
        ("COPY <<$NAME /x", "$NAME"),
        ("COPY <<${A:-b} /x", "${A:-b}"),
        ("RUN <<A <<B cat", "A\nARG BODY2\nB"),
        ("COPY <<-A <<'B C' <<D /x/", "\tA\nB C\nARG E\nD"),
    ],
)
def test_delimiters(head: str, end: str) -> None:
    """Faults 5.5: given any delimiter / when read / then the body ends exactly there."""
    assert _marked(f"FROM x\n{head}\nARG BODY\nEND\n{end}\nARG AFTER\n") == ["AFTER"]


@pytest.mark.parametrize(
    "head",
    [
        "RUN cat <<- EOF",
        "RUN cat<< EOF",
        "RUN cat <<< EOF",
        "RUN cat <<<EOF",
        "RUN cat <<''",
        "RUN cat <<",
        "RUN (cat<<EOF)",
        "RUN echo it's <<EOF",
        'RUN ["cat", "<<EOF"]',
        'COPY ["<<EOF", "/x"]',
        "ENV A=<<EOF",
        "LABEL <<EOF=1",
        "RUN '<<EOF'",
        "RUN \\<<EOF",
        "RUN <<EOF2",
        "# RUN <<EOF",
    ],
)
def test_what_is_no_here_document_for_buildkit(head: str) -> None:
    """Faults 5.5: given what a shell may read otherwise / when read / then as BuildKit does: instructions."""
    assert _marked(f"FROM x\n{head}\nARG BODY\nEOF\nARG AFTER\n") == ["BODY", "AFTER"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("${A:-${B:-x}}", "x"),
        ("${S:-${B:-x}}", "a-b-c"),
        ("${A:-${B:-${C:-y}z}}", "yz"),
        ("${A-x}${E-x}${E:-y}", "xy"),
        ("${A+x}${E+y}${E:+z}${S:+w}", "yw"),
        ("${S?}${S:?m}", "a-b-ca-b-c"),
        ("${S%-*}", "a-b"),
        ("${S%%-*}", "a"),
        ("${S#*-}", "b-c"),
        ("${S##*-}", "c"),
        ("${S%c}${S#?}", "a-b--b-c"),
        ("${S%\\*}", "a-b-c"),
        ("${S/-/_}", "a_b-c"),
        ("${S//-/_}", "a_b_c"),
        ("${S/x/y}", "a-b-c"),
        ("${S/-*/!}", "a!"),
        ("${P/\\/b/y}", "/usryin"),
        ("${P//\\//_}", "_usr_bin"),
        ("${S/-/${B:-+}}", "a+b-c"),
        ("a$$b", "ab"),
        ("a$", "a$"),
        ("a$.b", "a$.b"),
        ("\\$S", "$S"),
        ("'$S'", "$S"),
        ('"$S\\"\\x"', 'a-b-c"\\x'),
        ("$Sx$S.1", "a-b-c.1"),
        ("${S}x", "a-b-cx"),
        ("$1x$12", "x"),
        ("${A:-a\\}b}", "a}b"),
        ("${A:-'}'}", "}"),
        ("${A:?}", ""),
        ("${S", ""),
        ("${S:=x}", ""),
        ("${}", ""),
        ("${S/x}", ""),
        ("'x", ""),
        ('"x', ""),
    ],
)
def test_expansions(word: str, expected: str) -> None:
    """Faults 5.5: given variables in FROM / when read / then as BuildKit does; unreadable: unknown."""
    assert base_image(f"ARG S=a-b-c\nARG E=\nARG P=/usr/bin\nARG A\nFROM {word}\n", {}) == expected


def test_quotes_of_a_default_and_the_escape_directive() -> None:
    """Faults 5.5: given quotes in ARG / then single ones keep a dollar; the escape is the directive's."""
    assert base_image("ARG A=1\nARG B='$A'\nARG C=\"$A\"\nFROM x:$B$C", {}) == "x:$A1"
    assert base_image("# escape=`\nARG A=1\nFROM x:`$A\\$A", {}) == "x:$A\\1"
    assert base_image("ARG A=1\nFROM x${A:-y}", {"A": ""}) == "xy"


_WORDS = st.text(st.sampled_from("<<-'\"\\${}:%#/?*+ ab\tE\n`"), max_size=40)


@given(_WORDS, _WORDS)
def test_any_dockerfile_like_text_can_be_read(head: str, body: str) -> None:
    for keyword in ("FROM", "RUN", "ARG A=", "COPY", "ONBUILD RUN"):
        text = f"ARG S=a-b\nFROM x\n{keyword} {head}\n{body}\nE\n"
        assert isinstance(base_image(text, {}), str)
        takes_another_instruction(text)


@given(st.text(st.sampled_from("ab?*"), max_size=12), st.text(st.sampled_from("ab"), max_size=12))
def test_patterns_match_as_the_shell_s(pattern: str, value: str) -> None:
    """Against another implementation: the same ends, shortest and longest, from both sides."""
    ends = [n for n in range(len(value) + 1) if fnmatch.fnmatchcase(value[:n], pattern)]
    assert without_prefix(value, pattern, greedy=False) == value[min(ends, default=0) :]
    assert without_prefix(value, pattern, greedy=True) == value[max(ends, default=0) :]
    starts = [n for n in range(len(value) + 1) if fnmatch.fnmatchcase(value[n:], pattern)]
    assert without_suffix(value, pattern, greedy=False) == value[: max(starts, default=len(value))]
    assert without_suffix(value, pattern, greedy=True) == value[: min(starts, default=len(value))]


@given(st.text(st.sampled_from("ab*?"), min_size=1, max_size=8), st.text(st.sampled_from("ab"), max_size=12))
def test_replacements_are_those_of_regular_expressions(pattern: str, value: str) -> None:
    expression = re.compile(pattern.replace("*", ".*").replace("?", "."))
    assert replaced(value, pattern, "x", everywhere=False) == expression.sub("x", value, count=1)


@pytest.mark.parametrize(
    "text",
    [
        "FROM ${A:-" * 10_000 + "\n",
        "FROM " + "${A:-" * 10_000 + "x" + "}" * 10_000,
        "ARG A=" + "a" * 4000 + "\nFROM ${A##" + "*a" * 120 + "b}\n",
        "ARG A=" + "a" * 4000 + "\nFROM ${A//" + "*a" * 120 + "b/x}\n",
        "FROM x\n" + "RUN <<A\nRUN <<B\n\tA\n\tB\n" * 5_000,
        "FROM x\nRUN " + "[" * 100_000 + "<<A\n",
        "FROM x\nRUN " + "<<A " * 20_000,
        "FROM x\n" + "RUN \\\n" * 20_000,
    ],
)
def test_reading_ends_soon_whatever_the_text(text: str) -> None:
    """Faults 5.5 and contract 21, 36: given hostile nesting / when read / then neither an error nor hours."""
    base_image(text, {})
    declared_args(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM x", True),
        ("# syntax=docker/dockerfile:1\nFROM x\n# end\n\n", True),
        ("# syntax=registry:5000/docker/dockerfile-upstream:1@sha256:0\nFROM x\n", True),
        ("# syntax=tonistiigi/mopy\nFROM x\n", False),
        ("FROM x\nRUN a \\\n", False),
        ("FROM x\nRUN a \\", False),
        ("FROM x\nRUN a \\\n# note\n\n", False),
        ("FROM x\nRUN a \\\\\n", False),
        ("FROM x\nRUN <<EOF\na\n", False),
        ("FROM x\nRUN <<EOF\na\\\nEOF\n", True),
        ("# escape=`\nFROM x\nRUN a `", False),
        ("# escape=`\nFROM x\nRUN a \\", True),
        ("RUN a", False),
        ("", False),
    ],
)
def test_where_an_instruction_can_be_added(text: str, expected: bool) -> None:
    """Faults 1.6: the label that proves an image is an instruction of ours at the end."""
    assert takes_another_instruction(text) is expected
