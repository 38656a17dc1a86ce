"""Dockerfile lookup and the CONTEXT line (contract 8.1, filter row of 7.5)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context, HostFacts
from pytest_madengine.errors import DockerfileError
from pytest_madengine.images.context_line import MAX_LENGTH, read_context_line
from pytest_madengine.images.dockerfile import DockerfileIndex, match_dockerfiles

AMD_UBUNTU = "# CONTEXT {'gpu_vendor': 'AMD', 'guest_os': 'UBUNTU'}\n"


def model(name: str = "m", dockerfile: str = "docker/m") -> Model:
    return Model(name=name, dockerfile=dockerfile, scripts="scripts/m/run.sh")


def context(vendor_given: bool = True, **values: Any) -> Context:
    return Context(values=values, vendor_given=vendor_given)


def repository(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


VECTORS = [
    pytest.param(AMD_UBUNTU, {"gpu_vendor": "AMD", "guest_os": "UBUNTU"}, None, id="8.1-equal"),
    pytest.param(AMD_UBUNTU, {"gpu_vendor": "AMD"}, None, id="8.1-no-guest"),
    pytest.param(AMD_UBUNTU, {"gpu_vendor": "amd", "guest_os": "ubuntu"}, None, id="8.1-lower-context"),
    pytest.param(AMD_UBUNTU, {"gpu_vendor": "NVIDIA"}, "gpu_vendor", id="8.1-other-vendor"),
    pytest.param(AMD_UBUNTU, {"gpu_vendor": "AMD", "guest_os": "CENTOS"}, "guest_os", id="8.1-other-guest"),
    pytest.param(
        "# CONTEXT {'gpu_vendor': 'amd', 'guest_os': 'Ubuntu'}",
        {"gpu_vendor": "AMD", "guest_os": "UBUNTU"},
        None,
        id="8.1-lower-file",
    ),
    pytest.param('# CONTEXT {"gpu_vendor": "AMD"}', {"gpu_vendor": "AMD"}, None, id="8.1-json"),
    pytest.param("## CONTEXT {'gpu_vendor': 'AMD'}", {"gpu_vendor": "AMD"}, None, id="8.1-two-hashes"),
    pytest.param("# CONTEXT {'ctx_test': '1'}", {"gpu_vendor": "AMD"}, "ctx_test", id="8.1-ctx-test"),
    pytest.param("# CONTEXT {'ctx_test': 'None'}", {"gpu_vendor": "AMD"}, None, id="8.1-ctx-test-none"),
    pytest.param("# CONTEXT {'flavour': 'x'}", {"gpu_vendor": "AMD"}, None, id="8.1-key-absent"),
    pytest.param(
        "# CONTEXT {'flavour': 1}", {"gpu_vendor": "AMD", "flavour": "1"}, "flavour", id="8.1-type-matters"
    ),
    pytest.param(
        "# CONTEXT {'flavour': 1}", {"gpu_vendor": "AMD", "flavour": True}, "flavour", id="bool-is-no-int"
    ),
    pytest.param(
        "# CONTEXT {'flavour': 'X'}", {"gpu_vendor": "AMD", "flavour": "x"}, "flavour", id="case-matters"
    ),
    pytest.param(
        "# CONTEXT {'flavour': {'a': [1, 'x']}}",
        {"gpu_vendor": "AMD", "flavour": {"a": [1, "x"]}},
        None,
        id="nested-equal",
    ),
    pytest.param(
        "# CONTEXT {'flavour': [1]}", {"gpu_vendor": "AMD", "flavour": [1, 2]}, "flavour", id="nested-differs"
    ),
    pytest.param("#!x\r\n# CONTEXT {'gpu_vendor': 'AMD'}\r\n", {"gpu_vendor": "AMD"}, None, id="crlf"),
    pytest.param("\ufeff# CONTEXT {'gpu_vendor': 'AMD'}", {"gpu_vendor": "NVIDIA"}, "gpu_vendor", id="bom"),
]


@pytest.mark.parametrize(("text", "values", "differs"), VECTORS)
def test_context_vectors(tmp_path: Path, text: str, values: dict[str, Any], differs: str | None) -> None:
    """Contract 8.1, first table."""
    root = repository(tmp_path, {"docker/m.Dockerfile": text})
    if differs is None:
        (match,) = match_dockerfiles(root, model(), context(**values))
        assert match.warnings == ()
        assert match.relative == "docker/m.Dockerfile"
    else:
        with pytest.raises(DockerfileError, match=differs):
            match_dockerfiles(root, model(), context(**values))


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param("FROM scratch\n", "docker/m.Dockerfile has no CONTEXT line", id="8.1-none"),
        pytest.param("\n" * 5 + AMD_UBUNTU, "line 6 is not read", id="8.1-line-6"),
        pytest.param("#CONTEXT {'gpu_vendor': 'AMD'}", "line 1 is not read", id="8.1-no-blank"),
        pytest.param("# context of this file\nFROM x", "has no CONTEXT line", id="a-remark"),
        pytest.param("", "has no CONTEXT line", id="empty"),
    ],
)
def test_a_file_without_a_readable_line_matches_with_a_warning(
    tmp_path: Path, text: str, warning: str
) -> None:
    """Defect 3: given a Dockerfile without CONTEXT / when matched / then it is used, with a warning."""
    root = repository(tmp_path, {"docker/m.Dockerfile": text})
    (match,) = match_dockerfiles(root, model(), context(gpu_vendor="NVIDIA"))
    assert match.context == {}
    (found,) = match.warnings
    assert warning in found


def test_the_fifth_line_is_read(tmp_path: Path) -> None:
    root = repository(tmp_path, {"docker/m.Dockerfile": "\n" * 4 + AMD_UBUNTU})
    (match,) = match_dockerfiles(root, model(), context(gpu_vendor="AMD"))
    assert match.context == {"gpu_vendor": "AMD", "guest_os": "UBUNTU"}
    assert match.warnings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("# CONTEXT {'gpu_vendor': 'AMD'", "line 1, column 11: ", id="8.1-unclosed"),
        pytest.param("# CONTEXT ['AMD']", "must be an object, not list", id="8.1-list"),
        pytest.param(AMD_UBUNTU + AMD_UBUNTU, "line 2: a second CONTEXT line", id="8.1-two-lines"),
        pytest.param("# CONTEXT " + "[" * 21 + "]" * 21, "nested deeper than 20 levels", id="8.1-nesting"),
        pytest.param("# CONTEXT {'a': '" + "x" * 4096 + "'}", "longer than 4096 characters", id="8.1-length"),
        pytest.param("# CONTEXT {'a': open('/etc/passwd')}", "only literals are allowed", id="call"),
        pytest.param("# CONTEXT {'a': {1, 2}}", "a value of type set is not allowed", id="set"),
        pytest.param("# CONTEXT {'a': b'x'}", "a value of type bytes is not allowed", id="bytes"),
        pytest.param("# CONTEXT {1: 2}", "the key 1 must be text", id="key"),
        pytest.param('# CONTEXT {"a": NaN}', "only literals are allowed", id="nan"),
        pytest.param("# CONTEXT {'debug': true}", "only literals are allowed", id="mixed-dialects"),
        pytest.param("# CONTEXT ", "not a Python or JSON object", id="nothing"),
        pytest.param("# CONTEXT {'a': " + "-" * 4000 + "1}", "not a Python or JSON object", id="minus"),
    ],
)
def test_a_wrong_line_is_an_error_that_names_its_place(tmp_path: Path, text: str, message: str) -> None:
    """Contract 8.1: error of this model: file, line, position."""
    root = repository(tmp_path, {"docker/m.Dockerfile": text})
    with pytest.raises(DockerfileError) as caught:
        match_dockerfiles(root, model(), context(gpu_vendor="AMD"))
    assert message in caught.value.message
    assert caught.value.message.startswith("docker/m.Dockerfile: line ")
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("depth", [19, 20])
def test_allowed_nesting(depth: int) -> None:
    line = read_context_line("# CONTEXT {'a': " + "[" * (depth - 1) + "]" * (depth - 1) + "}", "f")
    assert "a" in line.values


def test_brackets_inside_texts_do_not_count() -> None:
    assert read_context_line("# CONTEXT {'a': '" + "[" * 50 + "'}", "f").values == {"a": "[" * 50}


def test_the_longest_literal_is_read() -> None:
    text = "{'a': '" + "x" * (MAX_LENGTH - 9) + "'}"
    assert len(text) == MAX_LENGTH
    assert read_context_line(f"# CONTEXT   {text}  ", "f").values["a"] == "x" * (MAX_LENGTH - 9)


def test_tuples_are_lists_and_odd_escapes_stay_silent() -> None:
    assert read_context_line(r"# CONTEXT {'a': (1, '\d')}", "f").values == {"a": [1, "\\d"]}


def test_hidden_nesting_is_found_after_parsing() -> None:
    text = "# CONTEXT {'a': '''\"'''" + ", 'b': " + "[" * 30 + "]" * 30 + ", 'c': '''\"'''}"
    with pytest.raises(DockerfileError, match="nested deeper"):
        read_context_line(text, "f")


def test_10000_nested_brackets_hurt_only_their_model(tmp_path: Path) -> None:
    """Defect 36: given 10,000 nested brackets / when collected / then an error of that model only."""
    root = repository(
        tmp_path,
        {"docker/m.Dockerfile": "# CONTEXT " + "[" * 10_000, "docker/ok.Dockerfile": AMD_UBUNTU},
    )
    index = DockerfileIndex(root)
    with pytest.raises(DockerfileError, match=r"docker/m\.Dockerfile: line 1"):
        index.match(model(), context(gpu_vendor="AMD"))
    assert len(index.match(model("ok", "docker/ok"), context(gpu_vendor="AMD"))) == 1


@given(st.text())
def test_any_text_gives_a_line_or_an_error_of_the_hierarchy(text: str) -> None:
    for candidate in (text, "# CONTEXT " + text, "# CONTEXT {" + text):
        message = "f: line "
        keys: list[Any] = []
        try:
            keys = list(read_context_line(candidate, "f").values)
        except DockerfileError as error:
            message = error.message
        assert message.startswith("f: line ")
        assert all(isinstance(key, str) for key in keys)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), json_values, max_size=4))
def test_literals_of_both_dialects_come_back(values: dict[str, Any]) -> None:
    import json

    for text in (repr(values), json.dumps(values)):
        if len(text) <= MAX_LENGTH:
            assert read_context_line(f"# CONTEXT {text}\nFROM x", "f").values == values


# ---- candidates ---------------------------------------------------------------------------------------


def amd(guest: str) -> str:
    return f"# CONTEXT {{'gpu_vendor': 'AMD', 'guest_os': '{guest}'}}\n"


CANDIDATES = [
    pytest.param(
        {
            "m.ubuntu.amd.Dockerfile": amd("UBUNTU"),
            "m.ubuntu.nvidia.Dockerfile": "# CONTEXT {'gpu_vendor': 'NVIDIA'}",
        },
        {"gpu_vendor": "AMD"},
        ["m.ubuntu.amd"],
        id="8.1-one-vendor",
    ),
    pytest.param(
        {"m.ubuntu.amd.Dockerfile": amd("UBUNTU"), "m.centos.amd.Dockerfile": amd("CENTOS")},
        {"gpu_vendor": "AMD"},
        ["m.centos.amd", "m.ubuntu.amd"],
        id="8.1-two-guests",
    ),
    pytest.param(
        {
            "m.ctx2a.Dockerfile": "# CONTEXT {'ctx_test': '2'}",
            "m.ctx2b.Dockerfile": "# CONTEXT {'ctx_test': '2'}",
            "m.ctx1.Dockerfile": "# CONTEXT {'ctx_test': '1'}",
        },
        {"gpu_vendor": "AMD", "ctx_test": "2"},
        ["m.ctx2a", "m.ctx2b"],
        id="8.1-ctx-test",
    ),
    pytest.param(
        dict.fromkeys(
            ("m.a", "m.bak", "m.orig", "m.rej", "m.a.swp", "m.a~", "mm.a", "m", "m2.Dockerfile"), "FROM x"
        ),
        {"gpu_vendor": "AMD"},
        ["m.a"],
        id="8.1-leftovers",
    ),
]


@pytest.mark.parametrize(("files", "values", "bases"), CANDIDATES)
def test_candidates(tmp_path: Path, files: dict[str, str], values: dict[str, Any], bases: list[str]) -> None:
    """Contract 8.1, second table."""
    root = repository(tmp_path, {f"docker/{name}": text for name, text in files.items()})
    assert [match.base for match in match_dockerfiles(root, model(), context(**values))] == bases


def test_only_regular_files_are_candidates(tmp_path: Path) -> None:
    root = repository(tmp_path, {"docker/m.real.Dockerfile": AMD_UBUNTU, "docker/m.d/x": ""})
    (root / "docker/m.broken.Dockerfile").symlink_to("nowhere")
    (root / "docker/m.link.Dockerfile").symlink_to("m.real.Dockerfile")
    bases = [match.base for match in match_dockerfiles(root, model(), context(gpu_vendor="AMD"))]
    assert bases == ["m.link", "m.real"]


@pytest.mark.parametrize("files", [{}, {"docker/other.Dockerfile": ""}, {"docker": ""}])
def test_no_candidate(tmp_path: Path, files: dict[str, str]) -> None:
    """Defect 3: given no matching Dockerfile / when matched / then an error with the text of 8.1."""
    with pytest.raises(DockerfileError) as caught:
        match_dockerfiles(repository(tmp_path, files), model(), context(gpu_vendor="AMD"))
    assert caught.value.message == "no Dockerfile matches docker/m.*"


def test_no_candidate_but_a_file_without_suffix(tmp_path: Path) -> None:
    root = repository(tmp_path, {"docker/m": "FROM x"})
    with pytest.raises(DockerfileError) as caught:
        match_dockerfiles(root, model(), context(gpu_vendor="AMD"))
    assert "docker/m exists" in caught.value.hint


def test_none_fits(tmp_path: Path) -> None:
    """Contract 8.1: per candidate: file, key, its value, context value."""
    root = repository(
        tmp_path,
        {
            "docker/m.a.Dockerfile": amd("CENTOS"),
            "docker/m.b.Dockerfile": "# CONTEXT {'gpu_vendor': 'INTEL'}",
        },
    )
    with pytest.raises(DockerfileError) as caught:
        match_dockerfiles(root, model("dir/m"), context(gpu_vendor="AMD", guest_os="UBUNTU"))
    assert caught.value.message == (
        "No dockerfiles matching context found for model dir/m: "
        "docker/m.a.Dockerfile: guest_os is 'CENTOS', context has 'UBUNTU'; "
        "docker/m.b.Dockerfile: gpu_vendor is 'INTEL', context has 'AMD'"
    )


def test_none_of_many_fits(tmp_path: Path) -> None:
    root = repository(tmp_path, {f"docker/m.{n:02}.Dockerfile": amd("CENTOS") for n in range(25)})
    with pytest.raises(DockerfileError, match=r"; and 5 more$"):
        match_dockerfiles(root, model(), context(gpu_vendor="NVIDIA"))


def test_an_entry_without_dockerfile() -> None:
    with pytest.raises(DockerfileError, match="model m has no dockerfile"):
        match_dockerfiles(Path("/nowhere"), model(dockerfile=""), context())


def test_names_with_glob_and_shell_characters_are_literal(tmp_path: Path) -> None:
    """Defect 26: given names with special characters / when looked up / then they are plain text."""
    name = "docker/m[a]*'; touch x; $(id) \""
    root = repository(tmp_path, {f"{name}.Dockerfile": AMD_UBUNTU, "docker/ma.Dockerfile": AMD_UBUNTU})
    (match,) = match_dockerfiles(root, model(dockerfile=name), context(gpu_vendor="AMD"))
    assert match.relative == f"{name}.Dockerfile"


def test_an_impossible_path_is_an_error_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(DockerfileError):
        match_dockerfiles(tmp_path, model(dockerfile="a\0b/m"), context())


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    root = repository(tmp_path, {"docker/m.Dockerfile": AMD_UBUNTU})
    index = DockerfileIndex(root)
    index.match(model(), context(gpu_vendor="AMD"))
    (root / "docker/m.Dockerfile").unlink()
    assert len(index.match(model(), context(gpu_vendor="AMD"))) == 1, "read once"
    other = DockerfileIndex(root)
    other._listings["docker"] = ["m.Dockerfile"]
    with pytest.raises(DockerfileError, match=r"docker/m\.Dockerfile: No such file"):
        other.match(model(), context(gpu_vendor="AMD"))


def test_each_directory_is_listed_and_each_file_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = repository(tmp_path, {f"docker/m{n}.Dockerfile": AMD_UBUNTU for n in range(20)})
    reads: list[Path] = []
    original = Path.read_bytes

    def counting(path: Path) -> bytes:
        reads.append(path)
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", counting)
    index = DockerfileIndex(root)
    first = context(gpu_vendor="AMD")
    for _ in range(3):
        for n in range(20):
            assert len(index.match(model(f"m{n}", f"docker/m{n}"), first)) == 1
    assert len(reads) == 20
    with pytest.raises(DockerfileError):
        index.match(model("m1", "docker/m1"), context(gpu_vendor="NVIDIA"))
    assert len(reads) == 20


# ---- hosts without GPU (7.5) --------------------------------------------------------------------------

CPU_FILE = "# CONTEXT {'gpu_vendor': 'CPU'}"
AMD_FILE = "# CONTEXT {'gpu_vendor': 'AMD'}"


@pytest.mark.parametrize(
    ("files", "given_by_user", "bases"),
    [
        pytest.param({"m.a": AMD_FILE, "m.c": CPU_FILE}, False, ["m.c"], id="7.5-cpu-file"),
        pytest.param({"m.a": AMD_FILE, "m.n": AMD_FILE}, False, ["m.a", "m.n"], id="7.5-any-vendor"),
        pytest.param({"m.a": AMD_FILE, "m.c": "# CONTEXT {'gpu_vendor': 'cpu'}"}, False, ["m.c"], id="lower"),
        pytest.param({"m.a": AMD_FILE}, True, None, id="7.5-vendor-given"),
        pytest.param({"m.a": AMD_FILE, "m.c": CPU_FILE}, True, ["m.c"], id="7.5-vendor-given-and-there"),
        pytest.param(
            {"m.a": AMD_FILE, "m.c": "# CONTEXT {'gpu_vendor': 'CPU', 'guest_os': 'CENTOS'}"},
            False,
            ["m.a"],
            id="cpu-file-for-another-guest",
        ),
    ],
)
def test_hosts_without_gpu(
    tmp_path: Path, files: dict[str, str], given_by_user: bool, bases: list[str] | None
) -> None:
    """Contract 7.5, row Dockerfile filter."""
    root = repository(tmp_path, {f"docker/{name}.Dockerfile": text for name, text in files.items()})
    wanted = Context(
        values={"gpu_vendor": "CPU", "guest_os": "UBUNTU"},
        vendor_given=given_by_user,
        facts=HostFacts(gpu_vendor="CPU"),
    )
    if bases is None:
        with pytest.raises(DockerfileError, match="gpu_vendor is 'AMD', context has 'CPU'"):
            match_dockerfiles(root, model(), wanted)
    else:
        assert [match.base for match in match_dockerfiles(root, model(), wanted)] == bases


def test_links(tmp_path: Path) -> None:
    """Faults 1.2: given links to files, to nowhere and in a circle / when matched / then files are found
    under the names of their links, and the others disturb no model."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "real").write_text("# CONTEXT {'guest_os': 'UBUNTU'}\nFROM x\n")
    links = {"d.a.Dockerfile": "../real", "d.b.Dockerfile": "d.a.Dockerfile", "d.c": "nowhere", "d.e": "d.f"}
    for name, target in {**links, "d.f": "d.e"}.items():
        (tmp_path / "docker" / name).symlink_to(target)

    found = match_dockerfiles(tmp_path, model("m", "docker/d"), context())
    assert [(match.relative, match.base) for match in found] == [
        ("docker/d.a.Dockerfile", "d.a"),
        ("docker/d.b.Dockerfile", "d.b"),
    ]
