"""The rendered scripts in the bash of this machine, with real git: behaviour of section 10.3 and 10.6."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pytest_madengine.executors.before import Before
from pytest_madengine.plan.runplan import Clone, DataMount, RunScript, Step
from pytest_madengine.plan.script import clone_environment, render
from pytest_madengine.secrets import Secret, reveal

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@dataclass
class Box:
    """A workspace without a container."""

    directory: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.space = self.directory / "space"
        self.control = self.space / ".madengine"
        self.control.mkdir(parents=True)
        (self.space / "scripts/m").mkdir(parents=True)
        self.model = self.space / "run_directory"
        self.home = self.directory / "home"
        self.home.mkdir()

    def script(self, name: str, text: str) -> None:
        (self.space / "scripts/m" / name).write_text(text)

    def write(self, run_line: str = "true", **changes: object) -> RunScript:
        values = {
            "model_dir": str(self.model), "script_dir": "scripts/m", "run_line": run_line,
            "owner": (os.getuid(), os.getgid()), **changes,
        }  # fmt: skip
        script = RunScript(**values)  # type: ignore[arg-type]
        files = render(script, nonce="NONCE", control_dir=str(self.control))
        for name, text in files.items():
            (self.control / name).write_text(text)
            (self.control / name).chmod(0o755)
        return script

    def environment(self, script: RunScript) -> dict[str, str]:
        secrets = {name: reveal(value) for name, value in clone_environment(script.clone).items()}
        path = f"{self.directory}/bin:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.home), **secrets, **self.env}

    def run(self, run_line: str = "true", **changes: object) -> subprocess.CompletedProcess[str]:
        script = self.write(run_line, **changes)
        return subprocess.run(
            ["bash", "-p", str(self.control / "phases.sh")],
            env=self.environment(script), cwd=self.directory, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def events(self) -> list[str]:
        lines = (self.control / "events").read_text().splitlines()
        return [line.split(" ", 2)[2] for line in lines]


@pytest.fixture
def box(tmp_path) -> Box:
    return Box(tmp_path)


def git(directory: Path, *args: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"]
    return subprocess.run(
        ["git", *identity, *args], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    """A bare repository ``r.git`` with one file."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    (work / "code.py").write_text("print('cloned')\n")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "one")
    git(tmp_path, "clone", "-q", "--bare", "work", "srv/r.git")
    git(tmp_path / "srv/r.git", "update-server-info")
    return tmp_path / "srv/r.git"


def test_phases_in_order(box):
    box.script("run.sh", "echo running in $PWD\n")
    done = box.run("bash run.sh", banner=("first line",))
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[:2] == ["\x01mad:NONCE:prepare", "first line"]
    assert f"running in {box.model}" in lines
    assert [line[-8:] for line in lines if line.startswith("\x01")] == [
        ":prepare", "ONCE:run", ":collect", "handback",
    ]  # fmt: skip
    assert box.events()[-1] == "finished"
    assert "exit 0" in box.events()


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("exit 3", 3),
        ("kill -9 $$", 137),
        ("no-such-command", 127),
        ("echo 'unbalanced", 2),
        ("exec false", 1),
    ],
)
def test_the_status_of_the_run_line(box, line, status):
    done = box.run(line)
    assert done.returncode == status
    assert f"exit {status}" in box.events()
    assert box.events()[-1] == "finished"


def test_the_run_line_sees_none_of_our_variables(box):
    done = box.run("set | grep ^_mad; env | grep -i ^_*mad; echo checked")
    assert done.stdout.split("NONCE:run\n")[1].startswith("checked\n")


def test_a_step_with_broken_arguments_fails_alone(box):
    box.script("pre.sh", "true\n")
    done = box.run("echo RUN", pre_steps=(Step("pre.sh", "scripts/m/pre.sh", "'unbalanced"),))
    assert done.returncode != 0
    assert "failed 2 pre-script pre.sh" in box.events()
    assert "RUN" not in done.stdout


def test_a_missing_step_file(box):
    done = box.run(pre_steps=(Step("x.sh", "scripts/none/x.sh"),))
    assert any(event.startswith("failed 1 pre-script x.sh") for event in box.events())
    assert done.returncode == 1


def test_all_post_scripts_run_and_the_first_failure_is_told(box):
    box.script("a.sh", "exit 5\n")
    box.script("b.sh", "exit 6\n")
    done = box.run(post_steps=(Step("a.sh", "scripts/m/a.sh"), Step("b.sh", "scripts/m/b.sh")))
    failed = [event for event in box.events() if event.startswith("failed")]
    assert failed == ["failed 5 post-script a.sh", "failed 6 post-script b.sh"]
    assert done.returncode == 5


def test_existing_result_files_are_told(box):
    box.script("r.csv", "old")
    box.run(watched=("r.csv", "none.csv"))
    assert [event for event in box.events() if event.startswith("existing")] == [
        f"existing {box.model}/r.csv"
    ]
    assert (box.model / "r.csv").stat().st_mtime_ns == (box.space / "scripts/m/r.csv").stat().st_mtime_ns


def test_links_in_the_script_directory_become_files(box):
    box.script("real.sh", "echo real\n")
    (box.space / "scripts/m/link.sh").symlink_to("real.sh")
    box.run()
    assert not (box.model / "link.sh").is_symlink()
    assert (box.model / "link.sh").read_text() == "echo real\n"


def test_model_repo_commit(box):
    git(box.space, "init", "-q")
    git(box.space, "commit", "-q", "--allow-empty", "-m", "x")
    head = git(box.space, "rev-parse", "HEAD")
    assert f"MODEL REPO COMMIT: {head}\n" in box.run().stdout
    trusted = git(
        box.directory, "config", "--file", str(box.home / ".gitconfig"), "--get-all", "safe.directory"
    )
    assert trusted.splitlines() == [str(box.space), str(box.model)]


def test_data_with_a_limit(box, monkeypatch):
    monkeypatch.setattr("pytest_madengine.plan.script.DATA_LIMIT", 0.3)
    monkeypatch.setattr("pytest_madengine.plan.script.WORKSPACE", str(box.space))
    box.script("slow.sh", "sleep 100 & sleep 100\n")
    home = box.directory / "data home"
    done = box.run(data_steps=(DataMount("d", "custom", str(home), script="scripts/m/slow.sh"),))
    assert "failed 143 data d" in box.events()
    assert "limit of 0.3 seconds reached" in done.stdout
    assert home.is_dir()


def test_data_without_a_script_is_left_alone(box):
    assert "data" not in box.run(data_steps=(DataMount("d", "local", "/h", source="/s"),)).stdout


def test_rocm_roots(box):
    (box.home / "rocm/.info").mkdir(parents=True)
    (box.home / "rocm/.info/version").write_text("6.4.1-83\n")
    done = box.run("echo ROCM=$ROCM_PATH", probe_rocm_path=True, host_versions=(("rocm", "6.2"),))
    if not Path("/opt/rocm").exists():
        assert f"ROCM={box.home}/rocm\n" in done.stdout
        assert any(
            line.split("|") == ["rocm       ", f" {'6.2':36} ", " 6.4.1-83"]
            for line in done.stdout.splitlines()
        )


def test_a_given_rocm_path_wins(box):
    box.env["ROCM_PATH"] = "/given"
    assert "ROCM=/given\n" in box.run("echo ROCM=$ROCM_PATH", probe_rocm_path=True).stdout


def test_rocm_tools_on_the_path(box):
    tool = box.directory / "therock/bin/rocminfo"
    tool.parent.mkdir(parents=True)
    tool.write_text("")
    tool.chmod(0o755)
    box.env["PATH"] = f"{tool.parent}:{os.environ['PATH']}"
    if not Path("/opt/rocm").exists():
        done = box.run("echo ROCM=$ROCM_PATH", probe_rocm_path=True)
        assert f"ROCM={box.directory}/therock\n" in done.stdout


def test_clone_without_a_credential(box, repository):
    head = git(repository, "rev-parse", "HEAD")
    box.model = box.space / "r"
    done = box.run("cat code.py", clone=Clone(f"file://{repository}", "r"))
    assert done.returncode == 0, done.stdout
    assert "print('cloned')" in done.stdout
    assert f"commit {head}" in box.events()


def test_a_clone_that_fails(box):
    box.model = box.space / "r"
    done = box.run("echo RUN", clone=Clone("file:///no/such/repository", "r"))
    assert "failed 128 clone" in box.events()
    assert "RUN" not in done.stdout
    assert done.returncode == 128


def test_an_image_without_git(box, repository):
    box.model = box.space / "r"
    tools = box.directory / "tools"
    tools.mkdir()
    for name in ("bash", "cp", "mkdir", "chmod", "chown"):
        (tools / name).symlink_to(shutil.which(name) or "")
    box.env["PATH"] = str(tools)
    done = box.run(clone=Clone(f"file://{repository}", "r"))
    assert "failed 127 clone" in box.events()
    assert "the image has no git" in done.stdout


class GitServer(BaseHTTPRequestHandler):
    """Serves files of a directory with basic authentication (the plain protocol of git)."""

    def do_GET(self) -> None:
        server: AuthServer = self.server  # type: ignore[assignment]
        given = self.headers.get("Authorization", "")
        server.seen.append(given)
        if server.login and given != "Basic " + base64.b64encode(server.login.encode()).decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = server.directory / self.path.partition("?")[0].lstrip("/")
        found = path.is_file()
        content = path.read_bytes() if found else b""
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class AuthServer(ThreadingHTTPServer):
    def __init__(self, directory: Path, login: str) -> None:
        super().__init__(("127.0.0.1", 0), GitServer)
        self.directory, self.login, self.seen = directory, login, []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def serve() -> Iterator[object]:
    servers: list[AuthServer] = []

    def start(directory: Path, login: str = "") -> AuthServer:
        server = AuthServer(directory, login)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


PASSWORD = "pass word/@:1"


def test_clone_with_a_password(box, repository, serve):
    """Section 10.6, defect 30: given to git by askpass, not in argv, not in .git/config."""
    server = serve(repository.parent, f"me@corp:{PASSWORD}")
    record = box.directory / "argv"
    fake = box.directory / "bin/git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/bash\nprintf "%s " "$@" >> {record}\nexec {shutil.which("git")} "$@"\n')
    fake.chmod(0o755)
    box.model = box.space / "r"
    clone = Clone(f"{server.url}/r.git", "r", username="me@corp", password=Secret(PASSWORD))
    done = box.run("cat code.py; env; git config --list", clone=clone)
    assert "print('cloned')" in done.stdout, done.stdout
    assert PASSWORD not in done.stdout
    assert PASSWORD not in record.read_text()
    config = (box.model / ".git/config").read_text()
    assert "corp" not in config
    assert f"{server.url}/r.git" in config
    assert not [
        path for path in box.space.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()
    ]


def test_a_wrong_password(box, repository, serve):
    server = serve(repository.parent, "me:right")
    box.model = box.space / "r"
    done = box.run(clone=Clone(f"{server.url}/r.git", "r", username="me", password=Secret("wrong-one")))
    assert "failed 128 clone" in box.events()
    assert "wrong-one" not in done.stdout


@pytest.mark.parametrize("private", [True, False])
def test_anonymous_first(box, repository, serve, private):
    """Section 10.6: PUBLIC_GITHUB_ROCM_KEY is used after an anonymous clone was refused."""
    server = serve(repository.parent, "me:token-1234" if private else "")
    box.model = box.space / "r"
    clone = Clone(
        f"{server.url}/r.git", "r", username="me", password=Secret("token-1234"), anonymous_first=True
    )
    done = box.run("cat code.py", clone=clone)
    assert "print('cloned')" in done.stdout, done.stdout
    assert any(server.seen) == private


def test_submodules_on_another_host_never_see_the_password(box, repository, serve, tmp_path):
    other = serve(repository.parent, "me:other-secret")
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q", "-b", "main")
    (outer / ".gitmodules").write_text(f'[submodule "s"]\n\tpath = s\n\turl = {other.url}/r.git\n')
    git(outer, "update-index", "--add", "--cacheinfo", "160000", git(repository, "rev-parse", "HEAD"), "s")
    git(outer, "add", ".gitmodules")
    git(outer, "commit", "-q", "-m", "sub")
    git(tmp_path, "clone", "-q", "--bare", "outer", "srv2/o.git")
    git(tmp_path / "srv2/o.git", "update-server-info")
    server = serve(tmp_path / "srv2", "me:pass-1234")
    box.model = box.space / "o"
    done = box.run(clone=Clone(f"{server.url}/o.git", "o", username="me", password=Secret("pass-1234")))
    assert any(event.startswith("failed") for event in box.events()), done.stdout
    assert not any(other.seen)
    assert any(server.seen)


def test_submodules_are_cloned(box, repository, serve, tmp_path):
    server = serve(repository.parent, "me:pass-1234")
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init", "-q", "-b", "main")
    (outer / ".gitmodules").write_text('[submodule "s"]\n\tpath = s\n\turl = ../r.git\n')
    git(outer, "update-index", "--add", "--cacheinfo", "160000", git(repository, "rev-parse", "HEAD"), "s")
    git(outer, "add", ".gitmodules")
    git(outer, "commit", "-q", "-m", "sub")
    git(tmp_path, "clone", "-q", "--bare", "outer", "srv/o.git")
    git(tmp_path / "srv/o.git", "update-server-info")
    box.model = box.space / "o"
    done = box.run(
        "cat s/code.py", clone=Clone(f"{server.url}/o.git", "o", username="me", password=Secret("pass-1234"))
    )
    assert "print('cloned')" in done.stdout, done.stdout


def test_ssh_clone_uses_the_key_and_empties_it(box, repository):
    """Section 10.6: the key serves the clone only."""
    record = box.directory / "ssh-argv"
    fake = box.directory / "bin/ssh"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/bash\nprintf "%s\\n" "$@" > {record}\ncat {box.control}/ssh/key >> {record}\n'
        f'eval "exec ${{@: -1}}"\n'
    )
    fake.chmod(0o755)
    (box.control / "ssh").mkdir()
    (box.control / "ssh/key").write_text("PRIVATE KEY")
    box.model = box.space / "r"
    clone = Clone(f"ssh://u@host{repository}", "r", ssh_user="me", ssh_key_file="/k", known_hosts="/kh")
    done = box.run(f"cat code.py; wc -c < {box.control}/ssh/key", clone=clone)
    assert "print('cloned')\n0\n" in done.stdout, done.stdout
    argv = record.read_text().splitlines()
    assert argv[-1] == "PRIVATE KEY"
    assert argv[argv.index("-l") :][:2] == ["-l", "me"]
    assert f"UserKnownHostsFile={box.control}/ssh/known_hosts" in argv
    assert "StrictHostKeyChecking=yes" in argv


def test_finish_hands_back_once(box):
    box.write()
    (box.space / "file").touch()
    for _ in range(2):
        subprocess.run(
            ["bash", "-p", str(box.control / "phases.sh"), "finish"],
            env={"PATH": os.environ["PATH"]}, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    assert box.events() == ["phase handback"]
    assert (box.control / "finished").exists()


def test_askpass_answers_only_its_host(box):
    box.write(clone=Clone("https://git.example:8443/o/r", "r", password=Secret("x")))

    def ask(prompt: str) -> tuple[int, str]:
        env = {"MAD_CLONE_HOST": "git.example:8443", "MAD_CLONE_USERNAME": "me", "MAD_CLONE_PASSWORD": "pw"}
        done = subprocess.run(
            ["bash", str(box.control / "askpass.sh"), prompt],
            env=env, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout

    assert ask("Username for 'https://git.example:8443': ") == (0, "me\n")
    assert ask("Password for 'https://me%40x@git.example:8443': ") == (0, "pw\n")
    assert ask("Password for 'https://git.example:8443/o/r': ") == (0, "pw\n")
    for other in (
        "https://other",
        "https://git.example",
        "https://git.example:8443.evil",
        "git.example:8443@evil",
    ):
        assert ask(f"Password for '{other}': ") == (1, "")


def test_init_ends_the_work_when_its_lifeline_closes(box):
    """Machine-independent part of the lifeline: stdin ends, everything ends."""
    script = box.write("echo started; sleep 1000 & sleep 1000")
    process = subprocess.Popen(
        ["bash", "-p", str(box.control / "init.sh")],
        env=box.environment(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    for line in process.stdout:
        if line == "started\n":
            break
    process.stdin.close()
    assert process.wait(30) == 143
    process.stdout.close()
    assert box.events()[-1] == "end 143"
    assert "stopping lifeline" in box.events()
    assert (box.control / "finished").exists()


def test_init_gives_the_status_of_the_run(box):
    script = box.write("exit 9")
    with subprocess.Popen(
        ["bash", "-p", str(box.control / "init.sh")],
        env=box.environment(script), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.wait(30) == 9
    assert box.events()[-1] == "end 9"


def test_files_that_look_like_results_are_remembered(box):
    """faults 1.10: given files in the image with the ending or the name of the results, when the script is
    about to start, then their hashes are there for the host, whatever their names hold.
    """
    place = box.directory / "opt"
    place.mkdir()
    for name in ("a.csv", "b c\n.csv", "res[1]ult.bak", "empty.csv", "other.txt"):
        (place / name).write_text("" if name == "empty.csv" else name)
    for name in ("ask", "go", "before"):
        (box.control / name).touch()
    box.script("own.csv", "of the workspace, at which the host looks itself")
    script = box.write("true", watched=("res[1]ult.csv",))
    phases = box.control / "phases.sh"
    phases.write_text(phases.read_text().replace("_mad_look=/\n", f"_mad_look={place}\n"))
    done = subprocess.run(
        ["bash", "-p", str(phases)], env=box.environment(script), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    before = Before([], [], ".csv", sums=(box.control / "before").read_bytes())
    known = [
        name for name in ("a.csv", "b c\n.csv", "res[1]ult.bak", "other.txt") if before.had(name.encode(), 0)
    ]
    assert known == ["a.csv", "b c\n.csv", "res[1]ult.bak"]
    assert not before.had(b"of the workspace, at which the host looks itself", 0)
    assert "\x01mad:NONCE:ready" in done.stdout


def test_an_image_without_find_says_so(box):
    """faults 1.10: given an image that cannot be searched, then the record has a warning."""
    for name in ("ask", "go", "before"):
        (box.control / name).touch()
    tools = box.directory / "tools"
    tools.mkdir()
    for name in ("bash", "cp", "mkdir", "chmod", "chown"):
        (tools / name).symlink_to(shutil.which(name) or "")
    box.env["PATH"] = str(tools)
    box.run(watched=("r.csv",))
    assert [event for event in box.events() if event.startswith("warning the image has no find")]
