"""Whole pytest sessions on the running engine: a MAD repository, a pytest process, what it left behind."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from docker import DockerClient

T = TypeVar("T")
#: Seconds a session may take before the test gives up on it.
LIMIT = 120.0
CONTEXT = "# CONTEXT {'guest_os': 'UBUNTU'}"
RUN_LABEL = "pytest-madengine.run-id"
MODEL_LABEL = "pytest-madengine.model"
#: Variables of the surrounding process that would change a session.
_FOREIGN = re.compile(r"MAD_|MODEL_DIR|PYTEST_|BUILD_NUMBER|pipeline|SLURM_|CI$|GITHUB_|COLUMNS")


def wait_until(
    condition: Callable[[], T], what: str, limit: float = 60.0, session: Session | None = None
) -> T:
    """Polls until the condition gives something true, and returns that.

    :param session: gives up when this one has ended.
    """
    deadline = time.monotonic() + limit
    while True:
        ended = session is not None and session.process.poll() is not None
        value = condition()
        if value:
            return value
        if ended or time.monotonic() > deadline:
            output = f"\n{session.output}" if session is not None else ""
            pytest.fail(f"{what}: not within {limit:g} s, or not before the end{output}", pytrace=False)
        time.sleep(0.05)


def tree_hash(directory: Path) -> dict[str, str]:
    """Path -> mode and content hash of everything below a directory."""
    result = {}
    for path in sorted(directory.rglob("*")):
        content = path.read_bytes() if path.is_file() else str(path.is_symlink()).encode()
        state = path.lstat()
        result[str(path.relative_to(directory))] = (
            f"{state.st_mode:o} {state.st_uid} {hashlib.sha256(content).hexdigest()}"
        )
    return result


def command_lines() -> list[str]:
    """Argument lists of all processes of this host, joined by blanks."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def other_user(group: int) -> tuple[tuple[str, ...], str, dict[str, str]]:
    """How to run Python as ``nobody``: command prefix, an interpreter that user may run, its environment.

    Skips where that is not possible.

    :param group: the only further group of the user.
    """
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv to become another user")
    prefix = ("setpriv", "--reuid=65534", "--regid=65534", f"--groups={group}", "--")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    env = {"PYTHONPATH": path, "HOME": "/tmp", "PYTHONWARNINGS": "ignore"}
    check = "import os, sys, docker, pytest_madengine; os.execv(sys.executable, [sys.executable, '-c', ''])"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        try:
            done = subprocess.run([*prefix, python, "-c", check], env={**os.environ, **env}, check=False)
        except OSError:
            continue
        if done.returncode == 0:
            return prefix, python, env
    pytest.skip("no Python that another user may run")


@contextmanager
def reachable(path: Path) -> Iterator[None]:
    """Lets other users pass the directories above a path meanwhile."""
    closed = {parent: parent.stat().st_mode for parent in path.parents if not parent.stat().st_mode & 0o001}
    try:
        for parent, mode in closed.items():
            parent.chmod(stat.S_IMODE(mode) | 0o011)
        yield
    finally:
        for parent, mode in closed.items():
            parent.chmod(stat.S_IMODE(mode))


@dataclass
class Session:
    """A pytest process on a repository; its console goes to a file."""

    repository: Repository
    process: subprocess.Popen[bytes]
    console: Path

    @property
    def output(self) -> str:
        return self.console.read_text(errors="replace")

    @property
    def code(self) -> int:
        code = self.process.returncode
        assert code is not None
        return code

    def signal(self, number: signal.Signals) -> Session:
        """Sends a signal to the pytest process alone, as a CI system does."""
        self.process.send_signal(number)
        return self

    def wait(self, limit: float = LIMIT) -> Session:
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.stop()
            pytest.fail(f"the session did not end within {limit:g} s:\n{self.output}")
        return self

    def stop(self) -> None:
        """Ends it at once, with everything in its process group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@dataclass
class Repository:
    """A MAD repository whose images are made from the tiny one; results lie beside it."""

    client: DockerClient
    directory: Path
    #: Unmistakable part of every Dockerfile's name, so also of every image's.
    token: str = field(default_factory=lambda: "t" + secrets.token_hex(4))
    entries: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = self.directory / "mad"
        self.out = self.directory / "out"
        for path in (self.root / "docker", self.root / "scripts", self.out):
            path.mkdir(parents=True)
        (self.root / "pytest.ini").write_text("[pytest]\n")
        self.dockerfile()
        self.write()

    # ---- the repository -----------------------------------------------------------------------------

    def dockerfile(
        self,
        *lines: str,
        name: str = "",
        header: str = "# CONTEXT {'guest_os': 'UBUNTU'}",
        image: str = "mad-test/tiny:latest",
    ) -> str:
        """Writes a Dockerfile and returns the prefix a model entry names it by."""
        base = f"{self.token}{name}"
        text = "\n".join([header, f"FROM {image}", *lines, ""])
        (self.root / f"docker/{base}.ubuntu.Dockerfile").write_text(text)
        return f"docker/{base}"

    @property
    def base(self) -> str:
        return f"{self.token}.ubuntu"

    def model(self, name: str, script: str = "echo 'performance: 5 sps'", **fields: Any) -> Repository:
        """Adds a model with the tag ``all_of_it``."""
        directory = self.root / "scripts" / f"m{len(self.entries)}"
        directory.mkdir()
        (directory / "run.sh").write_text(f"{script}\n")
        entry = {
            "name": name,
            "dockerfile": f"docker/{self.token}",
            "scripts": f"scripts/{directory.name}/run.sh",
            "n_gpus": "0",
            "tags": ["all_of_it"],
            "timeout": 60,
            "args": "",
        }
        self.entries.append({**entry, **fields})
        self.write()
        return self

    def write(self) -> None:
        (self.root / "models.json").write_text(json.dumps(self.entries, indent=1))

    # ---- sessions -----------------------------------------------------------------------------------

    def start(
        self,
        *args: str,
        env: Mapping[str, str] | None = None,
        prefix: tuple[str, ...] = (),
        python: str = sys.executable,
        tags: str = "all_of_it",
        pull: bool = False,
    ) -> Session:
        """Starts pytest on the repository."""
        environ = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        environ.update({"COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})})
        argv = [
            *prefix,
            *(python, "-m", "pytest", "-p", "no:cacheprovider"),
            *(() if pull else ("--mad-no-pull",)),
            *(f"--mad-output={self.out / 'perf.csv'}", f"--mad-results-dir={self.out / 'results'}"),
            *(("--mad-tags", tags) if tags else ()),
            *args,
        ]
        console = self.out / f"console.{len(self.sessions)}.txt"
        with console.open("wb") as stream:
            process = subprocess.Popen(
                argv,
                cwd=self.root,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        session = Session(self, process, console)
        self.sessions.append(session)
        return session

    def run(self, *args: str, **options: Any) -> Session:
        """Runs pytest on the repository to its end."""
        return self.start(*args, **options).wait()

    # ---- what came out ------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, str]]:
        path = self.out / "perf.csv"
        if not path.exists():
            return []
        with path.open(newline="") as stream:
            return list(csv.DictReader(stream))

    def row(self, model: str) -> dict[str, str]:
        """The only row of a model."""
        found = [row for row in self.rows() if row["model"] == model]
        assert len(found) == 1, self.rows()
        return found[0]

    def statuses(self) -> dict[str, str]:
        return {row["model"]: row["status"] for row in self.rows()}

    def records(self) -> dict[str, dict[str, Any]]:
        """Item -> record, of all sessions."""
        lines = [
            line
            for path in sorted(self.out.glob("results/*/records.jsonl"))
            for line in path.read_text().splitlines()
        ]
        records = [json.loads(line) for line in lines]
        assert len({(record["run_id"], record["item_id"]) for record in records}) == len(records)
        return {record["item_id"]: record for record in records}

    def reason(self, item: str) -> str:
        return str(self.records()[item]["reason"])

    def run_ids(self) -> list[str]:
        return sorted(path.name for path in self.out.glob("results/*") if path.is_dir())

    def artifacts(self, item: str) -> Path:
        """Artifacts directory of an item that ran in one session only."""
        (found,) = self.out.glob(f"results/*/{item}")
        return found

    def log(self, item: str) -> str:
        (path,) = self.artifacts(item).glob("*.run.live.log")
        return path.read_text()

    # ---- what is left in the engine -----------------------------------------------------------------

    def containers(self, model: str = "") -> list[Any]:
        """Containers of the sessions of this repository, running or not, as the engine lists them."""
        found = []
        for run_id in self.run_ids():
            labels = [f"{RUN_LABEL}={run_id}"] + ([f"{MODEL_LABEL}={model}"] if model else [])
            found += self.client.api.containers(all=True, filters={"label": labels})
        return found

    def images(self) -> list[str]:
        """Names of the images made from Dockerfiles of this repository."""
        listed = self.client.api.images()
        return [name for image in listed for name in image["RepoTags"] or () if self.token in name]

    def await_script(self, session: Session, model: str, text: str = "ready") -> Any:
        """The container of a model, once its log says that the script has come so far."""

        def look() -> Any:
            logs = list(self.out.glob(f"results/*/{model}/*.run.live.log"))
            said = any(text in path.read_text(errors="replace").splitlines() for path in logs)
            return next(iter(self.containers(model)), None) if said else None

        return wait_until(look, f"container of {model}", session=session)

    def assert_nothing_left(self) -> None:
        """No container and no workspace of any session."""
        assert self.containers() == []
        assert [str(path) for path in self.out.glob("results/*/.workspaces/*")] == []

    def clean(self) -> None:
        """Ends sessions, removes containers and images."""
        from docker.errors import APIError, NotFound

        for session in self.sessions:
            session.stop()
        for entry in self.containers():
            try:
                self.client.api.remove_container(entry["Id"], force=True, v=True)
            except (NotFound, APIError):  # its end is on the way
                continue
        self.remove_images()

    def remove_images(self) -> None:
        """Takes the images from the engine, those with the name of a registry included."""
        from docker.errors import ImageNotFound

        for image in self.client.api.images():
            names = [*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())]
            for name in names:
                if self.token in name:
                    with suppress(ImageNotFound):  # a digest goes with its last tag
                        self.client.api.remove_image(name, force=True)
