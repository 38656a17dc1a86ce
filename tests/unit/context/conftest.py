"""Recorded hosts and a command runner that answers from a table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from pytest_madengine.context.probe import CommandOutput, Probe

HOSTS = Path(__file__).parents[2] / "data" / "hosts"


class FakeRunner:
    """Answers commands by their words, the first one without its directory; keeps what was asked."""

    def __init__(self, answers: Mapping[str, CommandOutput]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str], timeout: float, environ: Mapping[str, str]) -> CommandOutput:
        line = " ".join([Path(argv[0]).name, *argv[1:]])
        self.asked.append(line)
        return self.answers.get(line, CommandOutput(stderr="not recorded", code=127))


@pytest.fixture
def recorded() -> Callable[..., Probe]:
    """``recorded(host, **environ)``: the probe of a recorded host; ``probe.run.asked`` lists its commands."""

    def make(host: str, **environ: str) -> Probe:
        entries = json.loads((HOSTS / host / "commands.json").read_text())
        answers = {
            " ".join(entry["argv"]): CommandOutput(
                "\n".join(entry["stdout"]), "\n".join(entry["stderr"]), entry["code"]
            )
            for entry in entries
        }
        return Probe(HOSTS / host / "root", FakeRunner(answers), {"PATH": "/usr/bin:/bin", **environ})

    return make


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Probe]:
    """``tree(files, answers, **environ)``: the probe of a host made of a few files.

    ``files`` maps paths to texts; a text of ``#!`` makes an executable.
    """

    def make(
        files: Mapping[str, str], answers: Mapping[str, CommandOutput] | None = None, **environ: str
    ) -> Probe:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if text.startswith("#!"):
                path.chmod(0o755)
        return Probe(root, FakeRunner(answers or {}), {"PATH": "/usr/bin", **environ})

    return make
