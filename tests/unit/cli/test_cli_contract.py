"""Section 19.2 of the contract as a table: every command and every spelling exists."""

from __future__ import annotations

from typing import Any, Final

import pytest
import typer
from pytest_madengine import __version__
from pytest_madengine.cli.app import make_app
from typer.testing import CliRunner

CONTEXT: Final = "--additional-context -c --additional-context-file -f"
COMMANDS: Final = {
    "run": f"--tags -t --manifest-file -m --timeout --live-output -l --clean-docker-cache {CONTEXT} "
    "--data-config-file-name --data-config --tools-json-file-name --tools-config --generate-sys-env-details "
    "--sys-env-details --no-sys-env-details --force-mirror-local --keep-alive --keep-model-dir "
    "--skip-model-run --disable-skip-gpu-arch --ignore-deprecated-flag --ignore-deprecated --registry -r "
    "--summary-output -s --cleanup-perf -o --output --manifest-output --require-pinned-image --verbose -v",
    "discover": "--tags -t --verbose -v",
    "build": f"--tags -t --registry -r {CONTEXT} --clean-docker-cache --manifest-output -m --summary-output "
    "-s --live-output -l --output -o --ignore-deprecated --data-config --tools-config --sys-env-details "
    "--force-mirror-local --disable-skip-gpu-arch --batch-manifest --target-archs -a --use-image "
    "--build-on-compute --verbose -v",
    "export-config": f"--tags -t --output -o {CONTEXT}",
    "generate ansible": "--manifest-file -m --output -o --environment -e",
    "generate k8s": "--manifest-file -m --namespace -n --environment -e --output-dir -o",
    "generate slurm": "--manifest-file -m --environment -e -o",
    "report to-html": "--csv-file-path --verbose -v",
    "report to-email": "--csv-file-path --directory --dir -o --eml --smtp --to --verbose -v",
    "report update-perf": "--perf-csv --multiple-results --common-info --model-name --single_result "
    "--single-result --exception-result --failed-result --db-url",
    "database": "-f --file --csv-file-path --database-name --database --db --collection-name --collection -c",
    "database create-table": "--db-url -v",
    "database update-table": "--csv-file-path --model-json-path --db-url",
    "database upload-mongodb": "--csv-file-path --file -f --file-path --type --name --database-name "
    "--database --db --collection-name --collection -c --unique-key -k --batch-size --no-upsert --no-index "
    "--dry-run --uri --tls",
    "lint": "",
    "plan": f"--tags {CONTEXT}",
    "compare": "",
    "history list": "",
    "history show": "",
    "history compare": "",
    "history export": "",
    "history replay": "",
    "cleanup": "--all --dry-run",
    "doctor": "--json --results-dir",
}


def found(program: str, path: str) -> Any:
    command: Any = typer.main.get_command(make_app(program))
    for name in path.split():
        command = command.commands[name]
    return command


@pytest.mark.parametrize("program", ["madengine", "madengine-cli"])
@pytest.mark.parametrize("path", COMMANDS)
def test_every_spelling_of_the_contract_exists(program: str, path: str) -> None:
    command = found(program, path)
    names = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    names |= {alias for param in getattr(command, "params_table", ()) for alias in param.aliases}
    assert set(COMMANDS[path].split()) <= names


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_a_help_with_an_example(path: str) -> None:
    """Issue: ``--help`` with examples."""
    text = found("madengine", path).help or ""
    assert len(text.split()) > 3
    assert path == "database" or f"madengine {path}" in text or f"madengine-cli {path}" in text


@pytest.mark.parametrize("program", ["madengine", "madengine-cli"])
@pytest.mark.parametrize("words", [["-v"], ["--version"], ["--verbose"]])
def test_the_version(program: str, words: list[str]) -> None:
    """faults 5.7: given -v alone, which was the version in madengine 1, then the version."""
    result = CliRunner().invoke(make_app(program, words), words)
    assert (result.exit_code, result.output) == (0, f"{program} version {__version__}\n")


@pytest.mark.parametrize("words", [["-v", "discover"], ["discover", "-v"], ["discover"]])
def test_verbose_before_the_command(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """faults 5.7: given --verbose before the name of a command, then it is the same as after it."""
    seen: list[bool] = []

    def body(values: dict[str, Any], _words: list[str]) -> int:
        seen.append(values["verbose"])
        return 0

    monkeypatch.setattr("pytest_madengine.cli.discover.discover", body)
    assert CliRunner().invoke(make_app("madengine-cli", words), words).exit_code == 0
    assert seen == [len(words) == 2]
