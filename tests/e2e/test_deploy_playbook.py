"""The generated playbook on real hosts: two SSH servers on loopback, a registry, the engine of this host."""

from __future__ import annotations

import csv
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from data_servers import SSHD, unavailable
from registry_servers import PASSWORD, USER, Registry, free_port, running_registry
from session_support import Repository, wait_until

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.e2e, pytest.mark.parallel, pytest.mark.slow]
TOKEN = "hf-planted-'$(id)-secret"
#: Ansible would make 2 of it.
TEMPLATE = "{{ 1 + 1 }}"
BIN = Path(sys.executable).parent


@dataclass
class Host:
    """An SSH server with a key of its own, for the user who runs the tests."""

    directory: Path
    name: str
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.port = self.port or free_port()
        key = self.directory / f"{self.name}_host_key"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        config = self.directory / f"{self.name}_config"
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {key}\nPidFile none\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\nStrictModes no\n"
            f"AuthorizedKeysFile {self.directory}/authorized_keys\nSubsystem sftp internal-sftp\n"
            "MaxStartups 50\nLogLevel ERROR\n"
        )
        self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
        wait_until(self.answers, f"sshd of {self.name}")

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as client:
                return client.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None

    @property
    def known_hosts_line(self) -> str:
        kind, key, *_ = (self.directory / f"{self.name}_host_key.pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {key}\n"


@dataclass
class Farm:
    """GPU nodes, and a machine with Ansible."""

    directory: Path
    hosts: list[Host] = field(default_factory=list)

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory.yml"

    def write(self) -> None:
        python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
        variables = {
            "ansible_host": "127.0.0.1",
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.directory / "user_key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.directory}/known_hosts",
            "ansible_python_interpreter": python,
        }
        hosts = {host.name: {"ansible_port": host.port} for host in self.hosts}
        self.inventory.write_text(json.dumps({"gpu_nodes": {"vars": variables, "hosts": hosts}}))
        (self.directory / "known_hosts").write_text("".join(host.known_hosts_line for host in self.hosts))

    def environ(self, sockets: str) -> dict[str, str]:
        """Nothing of Ansible's goes to the home of the user.

        :param sockets: one directory per play: connections that ssh keeps open would skip the check of a key.
        """
        foreign = ("MAD_", "ANSIBLE_", "SSH_", "MODEL_DIR", "PYTEST_", "COVERAGE_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        home = self.directory / "home"
        return {
            **clean,
            "PATH": f"{BIN}{os.pathsep}{clean['PATH']}",
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_REMOTE_TMP": str(home / "remote"),
            "ANSIBLE_ASYNC_DIR": str(home / "async"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=10s",
            "ANSIBLE_NOCOLOR": "1",
        }

    def play(self, playbook: Path, variables: dict[str, Any], *options: str, **environ: str) -> Any:
        (self.directory / "work").mkdir(exist_ok=True)
        given = {
            "madengine_command": str(BIN / "madengine-cli"),
            "work_path": str(self.directory / "work"),
            "poll_interval": 1,
            "registry_username": USER,
            "registry_password": PASSWORD,
            **variables,
        }
        # A vault is a file of variables as well.
        vault = self.directory / "vault.json"
        vault.write_text(json.dumps(given))
        command = [BIN / "ansible-playbook", "-i", self.inventory, playbook, "-e", f"@{vault}", *options]
        with tempfile.TemporaryDirectory(prefix="mad-cp") as sockets:  # their paths must be short
            return subprocess.run(
                command,
                env={**self.environ(sockets), **environ},
                cwd=self.directory,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    for program in (SSHD, BIN / "ansible-playbook"):
        if not program.exists():
            unavailable(f"{program} is missing")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    directory = tmp_path / "farm"
    directory.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / "user_key"], check=True)
    shutil.copy(directory / "user_key.pub", directory / "authorized_keys")
    made = Farm(directory, [Host(directory, "node1"), Host(directory, "node2")])
    try:
        for host in made.hosts:
            host.start()
        made.write()
        yield made
    finally:
        for host in made.hosts:
            host.stop()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with running_registry(tmp_path / "registry") as made:
        yield made


@pytest.fixture
def server(docker_client: DockerClient, tiny_image: str, tmp_path: Path) -> Iterator[Repository]:
    made = Repository(docker_client, tmp_path / "server")
    yield made
    made.clean()


def rows(place: Path) -> dict[str, str]:
    with (place / "perf.csv").open(newline="") as stream:
        return {row["model"]: row["status"] for row in csv.DictReader(stream)}


def generate(server: Repository, *args: str) -> Path:
    """The playbook of the manifest, by the command that people use."""
    playbook = server.root / "madengine_distributed.yml"
    context = json.dumps({"docker_env_vars": {"J": TEMPLATE}})
    command = [str(BIN / "madengine-cli"), "generate", "ansible", "-m", "build_manifest.json"]
    command += ["-o", str(playbook), "-c", context, *args]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAD_")}
    done = subprocess.run(command, cwd=server.root, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(playbook) in done.stdout
    return playbook


def test_models_run_on_every_host(server: Repository, registry: Registry, farm: Farm) -> None:
    """Two hosts run two models each; results of a failing run come back too, then the play fails with its
    status.  Host keys are checked whatever the environment says (defects 33, 39, 64)."""
    quoted = TOKEN.replace("'", "'\\''")
    server.model(
        "good",
        f"test \"$HUB\" = '{quoted}' && test \"$J\" = '{TEMPLATE}' && echo performance: 5 sps; "
        "touch results_good",
    )
    server.model("bad", "echo performance: 1 sps; exit 9")
    credential = server.root / "credential.json"
    credential.write_text(json.dumps({registry.host: {"username": USER, "password": PASSWORD}}))
    credential.chmod(0o600)
    context = json.dumps({"docker_env_vars": {"HUB": TOKEN}})
    built = server.run(
        "--mad-build-only",
        f"--mad-registry={registry.host}",
        "--mad-context",
        context,
        env={"HF_TOKEN": TOKEN},
    )
    assert built.code == 0, built.output
    credential.unlink()
    server.remove_images()
    playbook = generate(server, "-e", "night")
    assert TOKEN not in playbook.read_text()

    secrets = {"madengine_secrets": {"HF_TOKEN": TOKEN}}
    log = farm.directory / "audit.jsonl"
    played = farm.play(playbook, {**secrets, "audit_mode": True, "compliance_log": str(log)}, "-vvv")
    assert played.returncode == 2, played.stdout
    assert "madengine-cli run ended with exit status 3" in played.stdout
    for value in (TOKEN, json.dumps(TOKEN)[1:-1], PASSWORD):
        assert value not in played.stdout + played.stderr
    results = server.root / "madengine_results/night"
    for host in farm.hosts:
        assert rows(results / host.name) == {"good": "SUCCESS", "bad": "FAILURE"}
        assert json.loads((results / host.name / "summary.json").read_text())
        assert list((results / host.name).glob("mad-results/*/good/*.run.live.log"))
        assert list((results / host.name).glob("mad-results/*/good/results_good"))
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["host"] for entry in entries} == {"node1", "node2"}
    assert {entry["exit_status"] for entry in entries} == {3}
    assert all(entry["images"][0]["digest"].startswith("sha256:") for entry in entries)
    assert list((farm.directory / "work").iterdir()) == []

    # Once more with the model that works; the key of the second host is another one now.
    manifest = json.loads((server.root / "build_manifest.json").read_text())
    for key in [key for key, entry in manifest["built_models"].items() if entry["name"] == "bad"]:
        del manifest["built_models"][key], manifest["built_images"][key]
    (server.root / "build_manifest.json").write_text(json.dumps(manifest))
    second = farm.hosts[1]
    second.stop()
    for path in farm.directory.glob("node2_host_key*"):
        path.unlink()
    second.start()
    playbook = generate(server)
    environ = {"ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_PIPELINING": "True"}
    # A repository that the hosts have, a registry by name, and credentials for the run itself.
    login = {registry.host: {"username": USER, "password": PASSWORD}}
    given = {
        "madengine_path": str(server.root),
        "registry_url": registry.host,
        "madengine_credentials": login,
    }
    played = farm.play(playbook, {**secrets, **given}, **environ)
    assert played.returncode == 4, played.stdout  # a host was unreachable
    assert "node2" in played.stdout
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in played.stdout + played.stderr
    assert rows(server.root / "madengine_results/default/node1") == {"good": "SUCCESS"}
    assert not (server.root / "madengine_results/default/node2").exists()


def test_the_playbook_is_clean(tmp_path: Path) -> None:
    """ansible-lint in its strictest profile, and Ansible's own check of the syntax."""
    image = {
        "docker_image": "ci-m",
        "registry_image": "r.example.com/x/ci-m",
        "registry_digest": "sha256:" + "a" * 64,
    }
    entry = {"name": "m", "dockerfile": "docker/m", "scripts": "scripts/m/run.sh", "n_gpus": "0", "cred": "C"}
    variables = {"A": {"from_env": "HF_TOKEN"}}
    manifest = {
        "built_images": {"ci-m": image},
        "built_models": {"ci-m": entry},
        "context": {"docker_env_vars": variables},
        "schema_version": 3,
    }
    (tmp_path / "scripts/m").mkdir(parents=True)
    (tmp_path / "scripts/m/run.sh").write_text("true\n")
    (tmp_path / "build_manifest.json").write_text(json.dumps(manifest))
    environ = {**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "NO_COLOR": "1"}
    environ["PATH"] = f"{BIN}{os.pathsep}{environ['PATH']}"
    for command in (
        ["madengine-cli", "generate", "ansible", "-c", '{"docker_env_vars": {"B": "{{ 1 }}"}}'],
        ["ansible-playbook", "--syntax-check", "-i", "localhost,", "madengine_distributed.yml"],
        ["ansible-lint", "--offline", "--profile", "production", "madengine_distributed.yml"],
    ):
        program = BIN / command[0]
        if not program.exists():
            unavailable(f"{program} is missing")
        done = subprocess.run(
            [program, *command[1:]], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
