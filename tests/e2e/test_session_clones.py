"""Contract 10.6 with real servers: models whose repository is cloned over http and ssh."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from data_servers import SshServer, ssh_server, unavailable
from git_servers import GitHttp, git, git_http, make_repositories
from secret_support import places, sampled_processes, told
from session_support import Repository, Session

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
pytest_plugins = ["session_fixtures"]

GIT_IMAGE = "mad-test/git:latest"
RECIPE = """
FROM debian:bookworm-slim
LABEL mad-test.recipe=1
RUN apt-get update && apt-get install -y --no-install-recommends git openssh-client \\
    && rm -rf /var/lib/apt/lists/*
"""
GIT_SHELL = "/usr/bin/git-shell"
PASSWORD = "pw/+planted-git-Zq91"
URL_PASSWORD = "url-planted-git-Zq92"
WRONG = "wrong-planted-git-Zq93"
#: Files named results* are kept as they are: what the container really sees, not what the log shows.
SCRIPT = """
echo "directory: $PWD"
cat of_proj lib/of_lib
find . -path '*.git/*config' -exec cat {} + > results_git_config
cat /myworkspace/.madengine/ssh/key > results_key 2>/dev/null
env | grep MAD_CLONE > results_clone_env
echo performance: 1 x
"""


@pytest.fixture(scope="module")
def git_image(docker_client: DockerClient) -> str:
    """Name of an image with git and ssh; made once, kept for later sessions."""
    from docker.errors import ImageNotFound

    try:
        if docker_client.images.get(GIT_IMAGE).labels.get("mad-test.recipe") == "1":
            return GIT_IMAGE
    except ImageNotFound:
        pass
    argv = ["docker", "build", "--network=host", "--tag", GIT_IMAGE, "-"]
    done = subprocess.run(argv, input=RECIPE, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        unavailable(f"no image with git can be built: {done.stderr[-2000:]}")
    return GIT_IMAGE


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHttp]:
    root = tmp_path_factory.mktemp("http")
    if not shutil.which("git"):
        unavailable("git is missing")
    make_repositories(root)
    with git_http(root, "me@example.com", PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def ssh() -> Iterator[SshServer]:
    if not Path(GIT_SHELL).is_file():
        unavailable(f"{GIT_SHELL} is missing: install git")
    with ssh_server(GIT_SHELL) as server:
        make_repositories(server.data)
        # git serves only what belongs to the user it runs as.
        for path in (server.data, *server.data.rglob("*")):
            shutil.chown(path, server.user)
        yield server


@dataclass
class Clones:
    """One session with a model for every way to clone."""

    repository: Repository
    http: GitHttp
    ssh: SshServer
    key_line: str
    known_hosts: Path
    session: Session | None = None
    processes: set[str] = field(default_factory=set)

    @property
    def planted(self) -> dict[str, str]:
        return {"password": PASSWORD, "url": URL_PASSWORD, "wrong": WRONG, "key": self.key_line}

    def head(self, model: str) -> str:
        """Commit at the head of the repository a model is cloned from."""
        root = self.http.root if model.startswith("web") else self.ssh.data
        return git(root / "team/proj.git", "-c", "safe.directory=*", "rev-parse", "main")

    def commit(self, model: str) -> str:
        return self.repository.row(model)["git_commit"]

    def run(self) -> None:
        with sampled_processes() as self.processes:
            self.session = self.repository.run(f"--mad-known-hosts={self.known_hosts}", "-rA", "-n2")


@pytest.fixture(scope="module")
def clones(module_repository: Repository, git_image: str, http: GitHttp, ssh: SshServer) -> Clones:
    repository, port = module_repository, ssh.port
    config = f"Host gitbox\\n  HostName 127.0.0.1\\n  Port {port}\\n"
    prefix = repository.dockerfile(
        f"RUN printf '{config}' >> /etc/ssh/ssh_config", name="git", image=git_image
    )
    key = repository.root / "deploy_key"
    shutil.copy(ssh.key_file, key)
    key.chmod(0o600)
    known_hosts = repository.directory / "known_hosts"
    known_hosts.write_text(ssh.known_hosts_line)
    login = {"username": http.username, "password": PASSWORD}
    credentials = {
        "WEB": login,
        "BAD": {**login, "password": WRONG},
        "KEY": {"username": ssh.user, "ssh_key_file": "deploy_key"},
    }
    (repository.root / "credential.json").write_text(json.dumps(credentials))
    (repository.root / "credential.json").chmod(0o600)
    web, path = f"http://127.0.0.1:{http.port}/team/proj", ssh.data / "team/proj"
    user = http.username.replace("@", "%40")
    secure = f"ssh://{ssh.user}@127.0.0.1:{port}{path}"
    models = {
        "web": {"url": web, "cred": "WEB"},
        "web_git_suffix": {"url": f"{web}.git/", "cred": "WEB"},
        "web_wrong": {"url": f"{web}.git", "cred": "BAD"},
        "web_in_url": {"url": f"http://{user}:{URL_PASSWORD}@127.0.0.1:{http.port}/team/proj.git"},
        "web_anonymous": {"url": web},
        "ssh": {"url": f"{secure}.git", "cred": "KEY"},
        "ssh_short": {"url": f"git@gitbox:{path}.git", "cred": "KEY"},
        "ssh_unknown_host": {"url": f"ssh://localhost:{port}{path}.git", "cred": "KEY"},
        "ssh_no_key": {"url": f"{secure}.git"},
        "ssh_no_credential": {"url": f"{secure}.git", "cred": "ABSENT", "owner": "owner@example.com"},
    }
    for name, fields in models.items():
        repository.model(name, SCRIPT, dockerfile=prefix, **fields)
    repository.model("no_git", SCRIPT, url=web, cred="WEB")
    line = max(key.read_text().splitlines()[1:-1], key=len)
    made = Clones(repository, http, ssh, line, known_hosts)
    made.run()
    return made


WORKING = ("web", "web_git_suffix", "ssh", "ssh_short")


@pytest.mark.parametrize("model", WORKING)
def test_a_clone(clones: Clones, model: str) -> None:
    """Defect 60 and section 10.6: given a url with and without .git, over http and ssh / when run / then the
    directory has no suffix, submodules are there, and the row names the commit."""
    assert clones.session is not None
    assert clones.repository.statuses()[model] == "SUCCESS", clones.session.output
    assert clones.commit(model) == clones.head(model)
    log = clones.repository.log(model)
    assert "directory: /myworkspace/proj\n" in log
    assert "content of proj\ncontent of lib\n" in log


@pytest.mark.parametrize("model", WORKING)
def test_a_credential_is_gone_after_the_clone(clones: Clones, model: str) -> None:
    """Neither .git/config nor a variable nor the key file holds it when the model runs."""
    artifacts = clones.repository.artifacts(model)
    assert "proj" in (artifacts / "results_git_config").read_text()
    assert places(artifacts, clones.planted) == {}
    assert (artifacts / "results_key").read_text() == ""
    assert (artifacts / "results_clone_env").read_text() == ""


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("web_wrong", "Authentication failed"),
        ("web_in_url", "Authentication failed"),
        ("web_anonymous", "could not read Username"),
        ("ssh_unknown_host", "Host key verification failed"),
        ("ssh_no_key", "Permission denied"),
        ("ssh_no_credential", "Credentials(ABSENT) to run model not found in credential.json"),
        ("no_git", "the image has no git"),
    ],
)
def test_a_refused_clone(clones: Clones, model: str, reason: str) -> None:
    """A failure of the item with what git or ssh said, without the secret."""
    assert clones.repository.statuses()[model] == "FAILURE"
    assert reason in clones.repository.reason(model)
    assert clones.commit(model) == ""


def test_no_secret_of_a_clone_is_anywhere(clones: Clones) -> None:
    """Defect 30: searched for in the results, the workspace, the console, argument lists of all processes."""
    assert clones.session is not None
    given = {"credential.json", "deploy_key", "models.json"}
    found = places(clones.repository.directory, clones.planted)
    assert {path for path in found if Path(path).name not in given} == set()
    assert [line for line in clones.processes if "git" in line and "clone" in line], "no clone was sampled"
    assert told(clones.processes, clones.planted) == []
    assert {"granted", "refused", "anonymous"} <= set(clones.http.answers)
    clones.repository.assert_nothing_left()


def test_a_changed_host_key_is_refused(
    repository: Repository, git_image: str, ssh: SshServer, clones: Clones
) -> None:
    """The server of yesterday has another key today: nothing is cloned, the reason says so."""
    ssh.new_host_key()
    prefix = repository.dockerfile(name="git", image=git_image)
    shutil.copy(ssh.key_file, repository.root / "deploy_key")
    credential = {"KEY": {"username": ssh.user, "ssh_key_file": "deploy_key"}}
    (repository.root / "credential.json").write_text(json.dumps(credential))
    url = f"ssh://127.0.0.1:{ssh.port}{ssh.data}/team/proj.git"
    repository.model("m", SCRIPT, dockerfile=prefix, url=url, cred="KEY")
    # Without the option it is the file of the user.
    home = repository.directory / "home"
    (home / ".ssh").mkdir(parents=True)
    shutil.copy(clones.known_hosts, home / ".ssh/known_hosts")
    session = repository.run(env={"HOME": str(home)})
    assert session.code == 1, session.output
    assert "Host key verification failed" in repository.reason("m")
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in repository.log("m")
