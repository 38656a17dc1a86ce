"""Every rule by what makes it speak, with place and message."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lint_samples import CONTEXT, DOCKERFILE, SCRIPT, LintFiles, MakeRoot
from pytest_madengine.catalog.service import list_models
from pytest_madengine.errors import CatalogError, ConfigError
from pytest_madengine.lint.findings import Report, Severity
from pytest_madengine.lint.repository import LintRequest, lint
from pytest_madengine.lint.rules import RULES, find_rules

ENTRY = {"name": "m", "dockerfile": "docker/m", "scripts": "scripts/m/run.sh"}
TOKEN = "ghp" + "_" + "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0fD3hJ6"


def entry(**changes: Any) -> dict[str, Any]:
    """The entries of a root file whose one entry is a good one with changes; ``...`` removes a field."""
    values = {**ENTRY, **changes}
    kept = {name: value for name, value in values.items() if value is not ...}
    return {"models.json": json.dumps([kept])}


def docker(text: str) -> dict[str, Any]:
    return {"docker/m.ubuntu.amd.Dockerfile": text}


def dynamic(text: str) -> dict[str, Any]:
    return {"scripts/d/get_models_json.py": text}


def two(**changes: Any) -> dict[str, Any]:
    return {"models.json": json.dumps([ENTRY, {**ENTRY, "name": "n", **changes}])}


CUSTOM = "from madengine.tools.discover_models import CustomModel\n"
TOOLS = "scripts/common/tools.json"

#: Rule, files, the line of its finding.
CASES: list[tuple[str, dict[str, Any], str]] = [
    (
        "MAD002",
        {"docker/m.ubuntu.amd.Dockerfile": DOCKERFILE},
        "scripts: error there is no directory scripts",
    ),
    (
        "MAD003",
        {"scripts/d/models.json": "[]", **dynamic("def list_models(): return []")},
        "scripts/d/get_models_json.py:1: error Both models.json and get_models_json.py found in scripts/d.",
    ),
    ("MAD004", {"models.json": '[\n{"a": }]'}, "models.json:2:7: error invalid JSON: Expecting value"),
    ("MAD004", {"models.json": b'[\n"\xff"]'}, "models.json:2:2: error invalid JSON: not UTF-8 text"),
    ("MAD004", {"data.json": "[1]"}, "data.json:1:1: error must be an object of data names, not a list"),
    ("MAD004", {TOOLS: "7"}, f"{TOOLS}:1:1: error not a JSON object"),
    (
        "MAD005",
        {"models.json": '[{"name": "m", "args": "a",\n "args": "", "dockerfile": "", "scripts": ""}]'},
        "models.json:2:2: warning key 'args' stands twice in the same object: only the last value counts",
    ),
    ("MAD101", entry(args=5), "error m: field 'args': should be a text, not 5"),
    (
        "MAD101",
        {"models.json": "{}"},
        "models.json:1:1: error should be a JSON array of entries, not an object",
    ),
    ("MAD101", {"models.json": '["x"]'}, "models.json:1:2: error should be an object, not the text 'x'"),
    ("MAD102", entry(name=...), "error field 'name': is missing or empty"),
    ("MAD102", entry(scripts=""), "error m: field 'scripts': is missing or empty"),
    ("MAD102", entry(dockerfile=...), "env_vars.DOCKER_IMAGE_NAME names no image"),
    ("MAD103", entry(env={}), "warning m: unknown field 'env' has no effect (did you mean 'env_vars'?)"),
    ("MAD104", two(name="m"), "error m: field 'name': duplicate, entry 1 has the same name"),
    ("MAD105", entry(name="a:b"), "error a:b: field 'name': must not contain"),
    ("MAD105", entry(tags="a,b/c"), "error m: field 'tags': tag 'b/c' must not contain"),
    ("MAD106", entry(scripts="../x.sh"), "error m: field 'scripts': the path '../x.sh' leaves the MAD root"),
    ("MAD106", entry(dockerfile="/etc/x"), "error m: field 'dockerfile': the path '/etc/x' leaves"),
    ("MAD107", entry(n_gpus="two"), "error m: field 'n_gpus': should be -1 (all GPUs), 0 (none) or a count"),
    ("MAD107", entry(n_gpus=[1]), "error m: field 'n_gpus': should be -1 (all GPUs), 0 (none) or a count"),
    ("MAD108", entry(env_vars={"A=B": 1}), "error m: field 'env_vars': 'A=B' is no name of an environment"),
    ("MAD109", entry(env_vars={"A-B": 1}), "warning m: env_vars: no shell can use 'A-B' as a variable"),
    (
        "MAD110",
        entry(timeout=-2),
        "error m: field 'timeout': should be a whole number of seconds, -1 or more",
    ),
    ("MAD111", entry(num_gpus=1), "note field 'num_gpus' is an older way to write 'n_gpus'"),
    ("MAD111", entry(deprecated=False), "note field 'deprecated' is an older way to write 'is_deprecated'"),
    ("MAD112", entry(n_gpus="1", ngpus=2), "warning m: n_gpus is 1, ngpus is 2: n_gpus counts"),
    ("MAD113", entry(name="a,b"), "warning a,b: the name has a comma or outer blanks"),
    ("MAD114", entry(tags=["a,b"]), "warning tag 'a,b' of 'm' cannot be selected: it has a comma"),
    ("MAD115", entry(tags=["a b"]), "note tag 'a b' of 'm' cannot be typed after pytest -m"),
    ("MAD116", two(tags=["x", "m"]), "models.json:1:159: warning tag 'm' of 'n' is hidden"),
    ("MAD116", entry(tags=["all"]), "warning tag 'all' of 'm' hides the selector 'all'"),
    (
        "MAD117",
        {"models.json": [{**ENTRY, "name": name, "multiple_results": "r.csv"} for name in "ab"]},
        "note models 'a', 'b' share the results file name 'r.csv'",
    ),
    (
        "MAD118",
        entry(log_error_patterns=["x", ""]),
        "warning m: log_error_patterns: an empty text is in every",
    ),
    (
        "MAD201",
        entry(dockerfile="docker/mm"),
        "error m: no Dockerfile matches docker/mm.* (did you mean docker/m?)",
    ),
    (
        "MAD202",
        docker("FROM a:b\n"),
        "docker/m.ubuntu.amd.Dockerfile:1:1: warning no CONTEXT line in the first five lines",
    ),
    (
        "MAD203",
        docker("# x\n# CONTEXT {'gpu_vendor': 'AMD'\n"),
        "docker/m.ubuntu.amd.Dockerfile:2:11: error the CONTEXT line is wrong: not a Python or JSON object",
    ),
    (
        "MAD204",
        docker("#\n" * 5 + CONTEXT),
        "docker/m.ubuntu.amd.Dockerfile:6:1: warning the CONTEXT line is not read: it must be among",
    ),
    (
        "MAD204",
        docker("#CONTEXT {'gpu_vendor': 'AMD'}\n"),
        ":1:1: warning the CONTEXT line is not read: it must",
    ),
    (
        "MAD205",
        docker(CONTEXT * 2),
        "docker/m.ubuntu.amd.Dockerfile:2:1: error a second CONTEXT line; the first is",
    ),
    (
        "MAD206",
        docker("# CONTEXT {'guest_os': 'UBUNTUU'}\n"),
        ":1:1: warning guest_os 'UBUNTUU' is none of UBUNTU, CENTOS, ROCKY (did you mean 'UBUNTU'?)",
    ),
    (
        "MAD207",
        docker("# CONTEXT {'gpu_vendor': 'VOODOO'}\n"),
        "error m: no Dockerfile docker/m.* names a known",
    ),
    (
        "MAD209",
        docker(f"{CONTEXT}FROM debian:latest\n"),
        ":2:1: note base image 'debian:latest' has no fixed tag",
    ),
    (
        "MAD209",
        docker(f"{CONTEXT}ARG BASE_DOCKER=r:5/x\nFROM $BASE_DOCKER\n"),
        ":3:1: note base image 'r:5/x'",
    ),
    ("MAD210", entry(dockercontext="nowhere"), "error m: the build context nowhere is no directory"),
    (
        "MAD301",
        entry(scripts="scripts/m/runn.sh"),
        "error m: script scripts/m/runn.sh does not exist (did you mean",
    ),
    (
        "MAD302",
        {**entry(scripts="scripts/e"), "scripts/e/x.sh": ""},
        "error m: directory scripts/e has no run.sh",
    ),
    (
        "MAD303",
        {**entry(scripts="scripts/m/go"), "scripts/m/go": SCRIPT},
        "note m: script scripts/m/go is run with bash, whatever it is",
    ),
    (
        "MAD304",
        {"scripts/m/run.sh": "#!/usr/bin/env -S python3 -u\nperformance"},
        "scripts/m/run.sh:1:1: warning its first line names 'python3', but it is run with bash",
    ),
    ("MAD305", {"scripts/m/run.sh": f"{SCRIPT}x\r\n"}, "scripts/m/run.sh:3: warning has Windows line ends"),
    (
        "MAD306",
        {"scripts/m/run.sh": "#!/bin/bash\ntrue\n"},
        "note m: neither scripts/m/run.sh nor a file beside it mentions performance, and no multiple_results",
    ),
    (
        "MAD401",
        entry(url="https://me:hunter22" + "@host/x.git"),
        "models.json:1:86: error looks like a password in a",
    ),
    ("MAD401", docker(f"{DOCKERFILE}RUN x {TOKEN}\n"), ":3:7: error looks like a GitHub token"),
    ("MAD401", {"scripts/m/x.py": f"a = '{TOKEN}'"}, "scripts/m/x.py:1:6: error looks like a GitHub token"),
    ("MAD401", {"data.json": {"d": {"local": TOKEN}}}, "data.json:1:18: error looks like a GitHub token"),
    ("MAD402", entry(env_vars={"MY_TOKEN": "abcdefgh1"}), "warning m: env_vars: the value of MY_TOKEN is a"),
    ("MAD402", entry(args="--api-key abcdefgh1"), "warning m: args: the value of --api-key is a literal"),
    (
        "MAD402",
        entry(additional_docker_run_options="-e MY_TOKEN=abcdefgh1"),
        "warning m: additional_docker_run_options: -e MY_TOKEN is a literal",
    ),
    (
        "MAD402",
        {"scripts/m/run.sh": f"{SCRIPT}API_KEY=abcdefgh1\n"},
        "scripts/m/run.sh:3:1: warning the value of",
    ),
    (
        "MAD402",
        docker(f"{DOCKERFILE}ENV API_KEY=abcdefgh1\n"),
        ":3:5: warning the value of API_KEY is a literal",
    ),
    (
        "MAD402",
        {"data.json": {"d": {"aws": {"password": "abcdefgh1"}}}},
        "warning the value of password is a",
    ),
    (
        "MAD405",
        {**entry(cred="AMD_GITHUBB"), "credential.json": {"AMD_GITHUB": {"username": "u"}}},
        "warning m: credential 'AMD_GITHUBB' is not in credential.json (did you mean 'AMD_GITHUB'?)",
    ),
    (
        "MAD501",
        {"data.json": {"d": 5}},
        "data.json:1:2: error d: must be an object of providers, not a number",
    ),
    ("MAD502", {"data.json": {"d": {"locall": "/x"}}}, "data.json:1:2: warning d: unknown provider 'locall'"),
    (
        "MAD502",
        {"data.json": {"data_sources": {}, "x": {}}},
        "data.json:1:1: warning unknown field 'x' beside",
    ),
    (
        "MAD503",
        {**entry(data="ok, d11"), "data.json": {"d1": {"local": "/x"}, "ok": {}}},
        "error m: data name 'd11' is not defined in data.json (did you mean 'd1'?)",
    ),
    ("MAD504", entry(data="d"), "note m: data 'd': there is no data.json, so it runs without data"),
    (
        "MAD601",
        {TOOLS: {"tools": {"t": {"cmdd": ""}}}},
        "error tool 't': unknown field 'cmdd' (did you mean 'cmd'?)",
    ),
    ("MAD601", {TOOLS: {"tools": []}}, f"{TOOLS}:1:11: error tools: not an object"),
    (
        "MAD602",
        {TOOLS: {"tools": {"t": {"pre_scripts": [{"path": "scripts/x.sh"}]}}}},
        f"{TOOLS}:1:43: warning tool 't': script scripts/x.sh does not exist",
    ),
    ("MAD603", {TOOLS: {"tool": {}}}, f"{TOOLS}:1:2: warning unknown field 'tool' (did you mean 'tools'?)"),
    (
        "MAD611",
        entry(distributed={"launcher": "torchrn"}),
        "error m: unknown launcher 'torchrn'; known are torchrun",
    ),
    ("MAD611", entry(distributed={"launcher": 5}), "error m: distributed: launcher is not a text"),
    ("MAD611", entry(distributed={"port": 0}), "error m: distributed: port is 0, not a port number"),
    (
        "MAD612",
        entry(distributed={"nodes": 2}),
        "warning m: distributed: unknown field 'nodes' (did you mean 'nnodes'",
    ),
    (
        "MAD621",
        entry(additional_docker_run_options="--nope"),
        "error m: additional_docker_run_options: unknown docker",
    ),
    (
        "MAD622",
        entry(additional_docker_run_options="--shm-size 4g"),
        "--shm-size has no effect beside --ipc=host",
    ),
    ("MAD701", dynamic("def list_models(:\n"), "scripts/d/get_models_json.py:1:17: error no Python: "),
    (
        "MAD702",
        dynamic("x = 1\n"),
        "scripts/d/get_models_json.py:1:1: error Please define a list_models function",
    ),
    (
        "MAD702",
        dynamic("if 1:\n  def list_models(a, b=1): ...\n"),
        ":2:3: error list_models is called without",
    ),
    ("MAD702", dynamic("async def list_models(): ...\n"), ":1:1: error list_models is an async function"),
]


def line(report: Report, rule: str) -> list[str]:
    """The findings of a rule, as the text output has them, the hint in brackets."""
    return [
        f"{one.place}: {one.rule.severity} {one.text}{f' ({one.hint})' if one.hint else ''}"
        for one in report.findings
        if one.rule.id == rule
    ]


@pytest.mark.parametrize(("rule", "files", "expected"), CASES, ids=[case[0] for case in CASES])
def test_rules(
    rule: str, files: dict[str, Any], expected: str, lint_files: LintFiles, make_root: MakeRoot
) -> None:
    if rule == "MAD002":
        root = make_root()
        (root / "scripts").rename(root / "elsewhere")
        report = lint(LintRequest(root))
    else:
        report = lint_files(files)
    found = line(report, rule)
    assert len(found) == 1, [line(report, one.id) for one in RULES]
    assert expected in found[0]
    assert TOKEN not in str(report)
    assert "abcdefgh1" not in str(report)


def test_every_rule_has_a_case() -> None:
    others = {"MAD001", "MAD208", "MAD403", "MAD404", "MAD703", "MAD704"}
    assert {rule for rule, _, _ in CASES} | others == {rule.id for rule in RULES}


def test_rules_are_told_apart() -> None:
    assert len({rule.id for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.help.endswith(".") and rule.name == rule.name.lower() for rule in RULES)


def test_a_clean_repository(lint_files: LintFiles) -> None:
    report = lint_files()
    assert report.findings == ()
    assert (report.models, report.files) == (1, 3)


def test_examples_are_clean() -> None:
    """The demo models are an example in this, too; their program is executed as well."""
    report = lint(
        LintRequest(Path(__file__).parents[3] / "examples" / "mad", dynamic=True, environ=dict(os.environ))
    )
    assert report.findings == ()
    assert report.models == 10


def test_nothing_hides_anything(lint_files: LintFiles) -> None:
    """One wrong file, entry or field leaves the others to be checked."""
    files = {
        "models.json": [
            {**ENTRY, "args": 1, "timeout": "x", "scripts": "nowhere"},
            5,
            {**ENTRY, "name": "n", "cred": 1},
        ],
        "scripts/a/models.json": "[",
        "scripts/b/models.json": [{"name": "b", "dockerfile": "../../docker/none", "scripts": "run.sh"}],
        "data.json": "{",
        "credential.json": "[]",
    }
    report = lint_files(files)
    found = [
        (one.rule.id, one.place.path, one.place.line) for one in report.findings if one.rule.id != "MAD403"
    ]
    assert found == [
        ("MAD301", "models.json", 1),
        ("MAD101", "models.json", 1),
        ("MAD110", "models.json", 1),
        ("MAD101", "models.json", 1),
        ("MAD101", "models.json", 1),
        ("MAD004", "credential.json", 1),
        ("MAD004", "data.json", 1),
        ("MAD004", "scripts/a/models.json", 1),
        ("MAD201", "scripts/b/models.json", 1),
        ("MAD301", "scripts/b/models.json", 1),
    ]


def test_an_unknown_field_of_many_entries_is_one_finding(lint_files: LintFiles) -> None:
    entries = [{**ENTRY, "name": f"m{number}", "note": "x"} for number in range(50)]
    (found,) = lint_files({"models.json": entries}).findings
    assert found.message == "unknown field 'note' has no effect (and 49 more entries)"
    assert found.model == ""


def test_many_models_cost_few_reads(make_root: MakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that models share are read once, whatever the number of models."""
    entries = [{**ENTRY, "name": f"m{number}", "args": str(number)} for number in range(2000)]
    root = make_root({"models.json": entries})
    read: list[str] = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.name), real(path))[1])
    report = lint(LintRequest(root))
    assert (report.findings, report.models) == ((), 2000)
    assert sorted(read) == ["m.ubuntu.amd.Dockerfile", "models.json", "run.sh"]


def test_an_unreadable_file(make_root: MakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        if path.name == "m.ubuntu.amd.Dockerfile":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    (found,) = lint(LintRequest(make_root())).findings
    assert (
        f"{found.place}: {found.text}" == "docker/m.ubuntu.amd.Dockerfile: cannot be read: Permission denied"
    )


def test_credentials_in_the_open(make_root: MakeRoot) -> None:
    """Readable by others, and in the index of git; the value is never shown."""
    root = make_root({"credential.json": {"K": {"token": "hush-hush"}}})
    git = ["git", "-C", str(root)]
    subprocess.run([*git, "init", "-q"], check=True)
    (root / "credential.json").chmod(0o600)
    assert lint(LintRequest(root)).findings == ()
    (root / "credential.json").chmod(0o640)
    subprocess.run([*git, "add", "-f", "credential.json"], check=True)
    report = lint(LintRequest(root))
    assert [one.rule.id for one in report.findings] == ["MAD403", "MAD404"]
    assert "hush" not in str(report)


def test_git_runs_no_program_of_the_repository(make_root: MakeRoot, tmp_path: Path) -> None:
    root = make_root({"credential.json": "{}"})
    subprocess.run(["git", "-C", str(root), "init", "-q"], check=True)
    hook = tmp_path / "hook.sh"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    subprocess.run(["git", "-C", str(root), "config", "core.fsmonitor", str(hook)], check=True)
    lint(LintRequest(root))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("context", "count"),
    [
        ('{"gpu_vendor": "NVIDIA"}', 1),
        ('{"gpu_vendor": "AMD"}', 0),
        ('{"guest_os": "CENTOS"}', 0),
        ('{"gpu_vendor": "NVIDIA", "MAD_CONTAINER_IMAGE": "x"}', 0),
    ],
)
def test_context(context: str, count: int, lint_files: LintFiles) -> None:
    found = line(lint_files(context=context), "MAD208")
    assert len(found) == count
    if found:
        assert (
            "m: no Dockerfile fits the context: docker/m.ubuntu.amd.Dockerfile: gpu_vendor is 'AMD'"
            in found[0]
        )


def test_context_file_and_its_data(lint_files: LintFiles, tmp_path: Path) -> None:
    path = tmp_path / "context.json"
    path.write_text('{"data": {"d": {"local": "/x"}}}')
    files = entry(data="d")
    assert lint_files(files, context_file=path).findings == ()


@pytest.mark.parametrize(
    "context", ["[1]", '{"tools": [{"name": "rocprofvv3"}]}', '{"gpu_vendor": "VOODOO"}']
)
def test_a_wrong_context_is_a_wrong_argument(context: str, lint_files: LintFiles) -> None:
    with pytest.raises(ConfigError):
        lint_files(context=context)


def test_a_tool_of_the_repository_is_known(lint_files: LintFiles) -> None:
    assert lint_files({TOOLS: {"tools": {"t": {}}}}, context='{"tools": [{"name": "t"}]}').findings == ()


def test_tags(lint_files: LintFiles, make_root: MakeRoot) -> None:
    bad = {"dockerfile": "docker/none", "scripts": "scripts/m/run.sh"}
    files = {"models.json": [{**ENTRY, "tags": ["good"]}, {**bad, "name": "b", "args": 5}], "data.json": "["}
    report = lint_files(files, tags=["good"])
    assert ([one.rule.id for one in report.findings], report.models) == (["MAD004"], 1)
    with pytest.raises(ConfigError, match="No models found"):
        lint(LintRequest(make_root(name="other"), tags=["nope"]))
    root = make_root(dynamic("def list_models():\n    return []\n"), name="third")
    with pytest.raises(ConfigError) as raised:
        lint(LintRequest(root, tags=["d/x"]))
    assert raised.value.hint == "models of scripts/d/get_models_json.py are known only with --dynamic"


def test_no_mad_root(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no MAD root: it has no models\.json"):
        lint(LintRequest(tmp_path))


def test_programs_are_not_executed(lint_files: LintFiles, tmp_path: Path) -> None:
    """Defect 35: given a program that writes a file / when it is linted / then it was not executed."""
    text = f"open({str(tmp_path / 'ran')!r}, 'w')\ndef list_models():\n    return []\n"
    report = lint_files(dynamic(text))
    assert report.not_executed == ("scripts/d/get_models_json.py",)
    assert not (tmp_path / "ran").exists()
    assert report.findings == ()


def test_programs_that_are_executed(lint_files: LintFiles) -> None:
    text = CUSTOM + (
        "def list_models():\n"
        "    return [CustomModel(name='x', dockerfile='../../docker/no', scripts='run.sh', tags=['a:b'])]\n"
    )
    report = lint_files(dynamic(text), dynamic=True)
    assert [(one.rule.id, one.text) for one in report.findings] == [
        ("MAD105", r"d/x: field 'tags': tag 'a:b' must not contain '\', '/', ':' or control characters"),
        ("MAD201", "d/x: no Dockerfile matches docker/no.*"),
        ("MAD301", "d/x: script scripts/d/run.sh does not exist"),
    ]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("def list_models():\n    raise ValueError('oops')\n", "MAD703"),
        ("def list_models():\n    return [1]\n", "MAD703"),
        ("def list_models():\n    return []\n", "MAD704"),
    ],
)
def test_programs_that_fail(text: str, rule: str, lint_files: LintFiles) -> None:
    (found,) = lint_files(dynamic(text), dynamic=True).findings
    assert found.rule.id == rule


@pytest.mark.parametrize(
    "text",
    [
        "from x import *\n",
        "from x import models as list_models\n",
        "try:\n    from x import list_models\nexcept ImportError:\n    list_models = lambda: []\n",
        "def list_models(*args, a=1, **more): ...\n",
        "a = list_models = print\n",
    ],
)
def test_ways_to_define_list_models(text: str, lint_files: LintFiles) -> None:
    assert lint_files(dynamic(text)).findings == ()


@pytest.mark.parametrize("text", ["def f():\n    list_models = 1\n", "class list_modelss: ...\n", ""])
def test_no_list_models(text: str, lint_files: LintFiles) -> None:
    (found,) = lint_files(dynamic(text)).findings
    assert found.rule.id == "MAD702"


def test_ignored_rules(lint_files: LintFiles) -> None:
    files = entry(env={}, timeout=-2)
    assert [one.rule.id for one in lint_files(files, ignored=find_rules(["unknown-field"])).findings] == [
        "MAD110"
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["mad101, wrong-type"], {"MAD101"}), (["MAD101", "odd-tag,"], {"MAD101", "MAD115"}), ([], set())],
)
def test_names_of_rules(words: list[str], expected: set[str]) -> None:
    assert find_rules(words) == expected


@pytest.mark.parametrize(
    ("word", "hint"), [("wrong-typ", "wrong-type"), ("MAD101x", "MAD101"), ("zzz", "MAD101")]
)
def test_unknown_rules(word: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        find_rules([word])
    assert hint in raised.value.hint


# ---- any file -------------------------------------------------------------------------------------------

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = sorted(
    {
        *(
            "name",
            "dockerfile",
            "scripts",
            "args",
            "tags",
            "timeout",
            "n_gpus",
            "num_gpus",
            "env_vars",
            "cred",
            "data",
        ),
        *(
            "distributed",
            "additional_docker_run_options",
            "multiple_results",
            "log_error_patterns",
            "deprecated",
        ),
        *("dockercontext", "url", "nonsense"),
    }
)
GOOD = {
    "name": st.sampled_from(["m", "n", "a/b"]),
    "dockerfile": st.just("docker/m"),
    "scripts": st.just("scripts/m"),
}
ENTRIES = st.lists(
    st.fixed_dictionaries({}, optional={name: GOOD.get(name, JSON) | JSON for name in FIELDS}) | JSON,
    max_size=4,
)
#: Rules of what a run refuses when it reads the catalog.
CATALOG = {f"MAD10{number}" for number in (1, 2, 4, 5, 6, 7, 8)} | {"MAD004", "MAD110"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(entries=ENTRIES)
def test_any_entries(entries: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No entries break the linter; it finds an error exactly when a run would refuse them."""
    root = tmp_path_factory.mktemp("mad")
    (root / "scripts").mkdir()
    (root / "models.json").write_text(json.dumps(entries), "utf-8")
    try:
        list_models(root, environ={})
        refused = False
    except CatalogError:
        refused = True
    report = lint(LintRequest(root))
    assert any(one.rule.id in CATALOG for one in report.findings) is refused, report


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(
    models=st.binary(max_size=40), value=JSON, dockerfile=st.text(max_size=60), script=st.binary(max_size=60)
)
def test_any_files(
    models: bytes, value: Any, dockerfile: str, script: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No file breaks the linter, and every place is inside its file."""
    root = tmp_path_factory.mktemp("mad")
    for path, content in {
        "models.json": json.dumps([{**ENTRY, "data": "a", "cred": "b"}]).encode(),
        "scripts/a/models.json": models,
        "scripts/b/get_models_json.py": script,
        "scripts/m/run.sh": script,
        "data.json": json.dumps(value).encode(),
        "credential.json": json.dumps(value).encode(),
        "scripts/common/tools.json": json.dumps({"tools": value, "docker": value}).encode(),
        "docker/m.x": dockerfile.encode("utf-8", "surrogatepass"),
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    for one in lint(LintRequest(root)).findings:
        path = root / one.place.path
        assert path.exists()
        assert one.rule.severity in Severity
        if path.is_file():
            assert one.place.line <= path.read_bytes().count(b"\n") + path.read_bytes().count(b"\r") + 1
