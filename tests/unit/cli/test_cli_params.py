"""Every spelling of every option of ``run``, ``build`` and ``plan`` reaches pytest as the same words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pytest_madengine.cli import app, command, params
from pytest_madengine.options import OPTIONS
from pytest_madengine.options.option import BOOLEAN, FLAG, Option
from typer.testing import CliRunner

#: Contract 19.2, row ``madengine run``: spellings and the word that pytest gets for the value ``7``.
CONTRACT_RUN: Final = {
    "--tags": "--mad-tags=7",
    "-t": "--mad-tags=7",
    "--manifest-file": "--mad-manifest=7",
    "--timeout": "--mad-timeout=7",
    "--live-output": "--mad-live",
    "-l": "--mad-live",
    "--clean-docker-cache": "--mad-clean-docker-cache",
    "--additional-context": "--mad-context=7",
    "-c": "--mad-context=7",
    "--additional-context-file": "--mad-context-file=7",
    "-f": "--mad-context-file=7",
    "--data-config-file-name": "--mad-data-config=7",
    "--data-config": "--mad-data-config=7",
    "--tools-json-file-name": "--mad-tools-config=7",
    "--tools-config": "--mad-tools-config=7",
    "--sys-env-details": "--mad-sys-env-details=true",
    "--no-sys-env-details": "--mad-sys-env-details=false",
    "--force-mirror-local": "--mad-force-mirror-local=7",
    "--keep-alive": "--mad-keep-alive",
    "--keep-model-dir": "--mad-keep-model-dir",
    "--skip-model-run": "--mad-skip-model-run",
    "--disable-skip-gpu-arch": "--mad-disable-skip-gpu-arch",
    "--ignore-deprecated-flag": "--mad-ignore-deprecated",
    "--ignore-deprecated": "--mad-ignore-deprecated",
    "--registry": "--mad-registry=7",
    "-r": "--mad-registry=7",
    "-o": "--mad-output=7",
    "--output": "--mad-output=7",
    "-m": "--mad-manifest=7",
    "--manifest-output": "--mad-manifest-out=7",
}
#: The same, row ``madengine build``.
CONTRACT_BUILD: Final = {
    **{
        name: word
        for name, word in CONTRACT_RUN.items()
        if name not in ("--manifest-file", "-m", "--manifest-output")
    },
    "--manifest-output": "--mad-manifest-out=7",
    "-m": "--mad-manifest-out=7",
    "--batch-manifest": "--mad-batch-manifest=7",
    "--target-archs": "--mad-target-archs=7",
    "-a": "--mad-target-archs=7",
    "--use-image": "--mad-use-image=7",
}


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Arguments of each call of pytest; nothing runs."""
    calls: list[list[str]] = []
    monkeypatch.chdir(tmp_path)

    def main(args: Sequence[str], plugins: Sequence[Any] = ()) -> int:
        calls.append(list(args))
        return 0

    monkeypatch.setattr(pytest, "main", main)
    return calls


def invoke(*args: str, program: str = "madengine") -> Any:
    return CliRunner().invoke(app.make_app(program), list(args))


def spelled(command_name: str, spelling: str, word: str) -> list[str]:
    """The command with this option; a value where the word has one."""
    tags = [] if "tags" in word else ["--tags", "x"]
    takes_value = word.endswith("=7")
    return [command_name, *tags, spelling, *(["7"] if takes_value else [])]


@pytest.mark.parametrize(("spelling", "word"), CONTRACT_RUN.items())
def test_run_takes_every_spelling(spelling: str, word: str, words: list[list[str]]) -> None:
    result = invoke(*spelled("run", spelling, word))
    assert (result.exit_code, result.output) == (0, "")
    assert words[0].count(word) == 1


@pytest.mark.parametrize(("spelling", "word"), CONTRACT_BUILD.items())
def test_build_takes_every_spelling(spelling: str, word: str, words: list[list[str]]) -> None:
    result = invoke(*spelled("build", spelling, word), program="madengine-cli")
    assert (result.exit_code, result.output) == (0, "")
    assert words[0].count(word) == 1
    assert "--mad-build-only" in words[0]


def a_value(option: Option) -> str:
    return (*option.choices, "true" if option.kind is BOOLEAN else "7")[0]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_the_command_lines_have_every_pytest_option(option: Option, words: list[list[str]]) -> None:
    """Contract 19.1: the command lines accept the pytest options without ``mad-``."""
    if not option.commands:
        assert option.name in ("plan", "list-tags", "build-only")  # commands, not options
        return
    name = option.commands[0]
    value = [] if option.kind is FLAG or option.name == "sys-env-details" else [a_value(option)]
    result = invoke(name, "--tags", "x", f"--{option.name}", *value)
    assert (result.exit_code, result.output) == (0, "")
    assert any(word.partition("=")[0] == f"--mad-{option.name}" for word in words[0])


@pytest.mark.parametrize(
    ("given_words", "selectors"),
    [
        (["--tags", "a", "b", "c"], ["a", "b", "c"]),
        (["--tags", "a,b", "-t", "c"], ["a,b", "c"]),
        (["--tags", "a", "b", "--live-output"], ["a", "b"]),
        (["--tags=a", "--tags=b"], ["a", "b"]),
        (["-t", "d:bs=1|2", "e"], ["d:bs=1|2", "e"]),
    ],
)
def test_tags_take_words_commas_and_repetition(
    given_words: list[str], selectors: list[str], words: list[list[str]]
) -> None:
    assert invoke("run", *given_words).exit_code == 0
    assert [word for word in words[0] if word.startswith("--mad-tags=")] == [
        f"--mad-tags={selector}" for selector in selectors
    ]


@pytest.mark.parametrize("value", ["no", "False", "0", "off", "true"])
def test_the_environment_collector_as_a_value(value: str, words: list[list[str]]) -> None:
    """Contract 19.2: madengine spells the switch as a value too."""
    assert invoke("run", "--tags", "x", "--generate-sys-env-details", value).exit_code == 0
    assert words[0].count(f"--mad-sys-env-details={value}") == 1


@pytest.mark.parametrize(
    ("given_words", "blame"),
    [
        (["--gpu-busy", "shrug"], "--gpu-busy: 'shrug' is not one of warn, wait, fail"),
        (
            ["--timeout", "-7"],
            "--timeout: '-7' is not a whole number of seconds up to 1000000000, or -1 for none",
        ),
        (
            ["--timeout-pull=soon"],
            "--timeout-pull: 'soon' is not a number of seconds up to 1000000000, or -1 for none",
        ),
        (["--generate-sys-env-details", "7"], "--generate-sys-env-details: '7' is not true or false"),
        (["--retries", "x"], "--retries: 'x' is not a whole number from 0 to 1000000000"),
    ],
)
def test_a_wrong_value_is_blamed_on_the_option_that_was_typed(
    given_words: list[str], blame: str, words: list[list[str]]
) -> None:
    """Given a value of a wrong kind, then its spelling is in the message, not that of pytest's option."""
    result = invoke("run", "--tags", "x", *given_words)
    assert (result.exit_code, words) == (4, [])
    assert blame in result.output


def test_resume_needs_no_value(words: list[list[str]]) -> None:
    invoke("run", "--tags", "x", "--resume", "--live")
    invoke("run", "--resume=abc", "--tags", "x")
    invoke("run", "--tags", "x", "--resume", "abc")
    assert [next(w for w in call if "resume" in w) for call in words] == [
        "--mad-resume=last",
        "--mad-resume=abc",
        "--mad-resume=abc",
    ]


def test_workers_and_words_for_pytest(words: list[list[str]]) -> None:
    assert invoke("run", "--tags", "x", "-n", "4", "--", "--junitxml=j.xml", "-x").exit_code == 0
    assert words[0][-4:] == ["-n", "4", "--junitxml=j.xml", "-x"]
    assert invoke("run", "--tags", "x", "--workers", "many").exit_code == 4


def test_verbose_adds_detail(words: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    for spelling in ([], ["-v"], ["--verbose"]):
        invoke("run", "--tags", "x", *spelling)
    assert ["-vv" in call for call in words] == [False, True, True]
    monkeypatch.setenv("LOG_LEVEL", "debug")
    invoke("run", "--tags", "x")
    assert "-vv" in words[-1]


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["run"], "no models are selected"),
        (["build"], "no models are selected"),
        (["plan"], "no models are selected"),
        (["run", "dummy"], "dummy"),
        (["run", "--tags"], "--tags"),
        (["run", "--tags", "x", "--no-such-option"], "--no-such-option"),
        (["run", "--tags", "x", "--timeout", "soon"], "--timeout"),
        (["no-such-command"], "no-such-command"),
        (["discover", "--", "x"], "unexpected argument 'x'"),
        (["generate", "nothing"], "nothing"),
    ],
)
def test_wrong_arguments_end_with_4(args: list[str], text: str, words: list[list[str]]) -> None:
    result = invoke(*args)
    assert result.exit_code == 4
    assert text in result.output
    assert not words


@pytest.mark.parametrize("program", ["madengine", "madengine-cli"])
def test_no_command_shows_the_help(program: str) -> None:
    result = invoke(program=program)
    assert result.exit_code == 0
    assert "Usage:" in result.output
    version = invoke("--version", program=program)
    assert version.exit_code == 0
    assert version.output.startswith(f"{program} version ")


@pytest.mark.parametrize("group", ["generate", "report", "database", "history"])
def test_a_group_alone_shows_its_help(group: str) -> None:
    result = invoke(group)
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_only_the_second_name_writes_a_manifest_by_itself(words: list[list[str]], tmp_path: Path) -> None:
    """Contract 19.2: ``madengine run`` has no ``--manifest-output``; a manifest that is read is never
    written (defect 18)."""
    manifest = tmp_path / "m.json"
    manifest.write_text("{}")
    invoke("run", "--tags", "x")
    invoke("run", "--tags", "x", program="madengine-cli")
    invoke("run", "--tags", "x", "-m", str(manifest), program="madengine-cli")
    invoke("run", "--tags", "x", "-m", str(tmp_path / "absent.json"), program="madengine-cli")
    assert [[word for word in call if "manifest-out" in word] for call in words] == [
        [],
        ["--mad-manifest-out=build_manifest.json"],
        [],
        ["--mad-manifest-out=build_manifest.json"],
    ]


@given(
    st.lists(
        st.sampled_from(["--tags", "-t", "a", "b,c", "--live", "--resume", "--timeout", "5", "-", "x=-1"])
    )
)
def test_rewriting_loses_no_word(given_words: list[str]) -> None:
    """Only spellings are added or spelled out: every value stays, in its order."""
    result = list(command.rewritten(given_words, params.of_command("run")))
    values = [word for word in result if not word.startswith("--") and word != "-t"]
    assert values == [word for word in given_words if not word.startswith("--") and word != "-t"]


def test_one_letter_means_one_option() -> None:
    for table in map(params.of_command, ("run", "build", "plan", "discover", "export-config", "lint")):
        spellings = [spelling for param in table for spelling in param.spellings]
        assert len(spellings) == len(set(spellings))


def first_sentence(text: str) -> str:
    return " ".join(text.strip().partition("\n\n")[0].split())


def test_the_list_of_commands_says_what_the_commands_say() -> None:
    """``--help`` is made without the commands: it must name the same ones, in their own words."""
    group = typer.main.get_command(app.make_app("madengine"))
    found = {name: first_sentence(command.help or "") for name, command in group.commands.items()}  # type: ignore[attr-defined]
    assert found == {name: entry.summary for name, entry in app.COMMANDS.items()}
    short = CliRunner().invoke(app.make_app("madengine", ["--help"]), ["--help"]).output
    # Groups come after commands where they are known as groups.
    assert sorted(short.splitlines()) == sorted(invoke("--help").output.splitlines())


@pytest.mark.parametrize("name", app.COMMANDS)
def test_only_the_called_command_is_made(name: str) -> None:
    one = typer.main.get_command(app.make_app("madengine", [name, "--help"]))
    assert [*getattr(one, "commands", [name])] == [name]
    result = CliRunner().invoke(app.make_app("madengine", [name, "--help"]), [name, "--help"])
    assert result.exit_code == 0
    assert result.output == invoke(name, "--help").output
