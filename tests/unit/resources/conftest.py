"""A workspace as a container sees it: ``scripts/common``, a model directory, and a PATH made of fakes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_madengine.resources import scripts_common

#: What a minimal image has beside bash.
MINIMAL = ("bash", "cat", "chmod", "cp", "mkdir", "mv", "rm", "sleep", "tail", "timeout")


@dataclass(frozen=True)
class Workspace:
    """``root`` is ``/myworkspace``; scripts run in ``model`` with nothing but ``bin`` on PATH."""

    root: Path
    model: Path
    bin: Path

    def fake(self, name: str, body: str) -> Path:
        """Puts an executable bash script on PATH."""
        path = self.bin / name
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def real(self, *names: str) -> None:
        """Puts tools of this machine on PATH."""
        for name in names:
            found = sys.executable if name == "python3" else shutil.which(name)
            assert found is not None, name
            if name == "python3":
                # A link would lose the interpreter's virtual environment.
                self.fake("python3", f'exec {found} "$@"')
            elif not (self.bin / name).exists():
                (self.bin / name).symlink_to(found)

    def run(self, *argv: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command in the model directory, with an environment of its own."""
        environ = {"PATH": str(self.bin), "HOME": str(self.root / "home"), **(env or {})}
        return subprocess.run(
            [self.bin / argv[0], *argv[1:]],
            cwd=self.model,
            env=environ,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )

    def step(
        self, script: str, *args: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A pre- or post-script as contract 10.3 runs it: copied into the model directory."""
        source = self.root / "scripts/common" / script
        shutil.copyfile(source, self.model / source.name)
        return self.run("bash", source.name, *args, env=env)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "ws", tmp_path / "ws" / "run_directory", tmp_path / "bin")
    (made.root / "scripts").mkdir(parents=True)
    (made.root / "scripts/common").symlink_to(scripts_common())
    made.model.mkdir()
    made.bin.mkdir()
    made.real(*MINIMAL)
    return made
