"""Secrets of every kind through the whole way: plan, build, push, manifest, pull, data, run, reports."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from data_servers import ACCESS_KEY, SECRET_KEY, S3Server, SshServer, s3_server, ssh_server
from registry_servers import PASSWORD, USER, Registry, running_registry
from secret_support import found_in, places, sampled_processes, told
from session_support import Repository, Session

pytestmark = pytest.mark.e2e
pytest_plugins = ["session_fixtures"]

NAS_PASSWORD = "pw-planted-nas-secret"
#: Source -> planted value.
PLANTED = {
    "credential": 'cred"ential/+planted-Yq71',
    "declared": "declared/+planted-Yq72",
    "registry": PASSWORD,
    "NAS_NODES": NAS_PASSWORD,
    "MAD_AWS_S3 and MAD_MINIO": SECRET_KEY,
    "MAD_SECRETS_X": "mad-secrets/+planted-Yq73",
    "docker_env_vars": "context\\token/+planted-Yq74",
    "url": "url-planted-Yq75",
}
#: Files that users wrote their secrets into.
GIVEN = {"credential.json", "context.json", "models.json"}
SCRIPT = """
env
echo "$C_PASSWORD and $C_TOKEN and $MAD_SECRETS_X"
printf '%s' "$MY_TOKEN" | base64
cat /data_dlm_?/*
printf '%s\\n' "$C_PASSWORD" "$MAD_SECRETS_X" "$MY_TOKEN" | md5sum > results_sum
test "$FAIL" = 1 && { echo "failed with $MY_TOKEN and $C_PASSWORD"; exit 3; }
echo performance: 1 x
"""


#: What is done with the results and the manifest then, in the root of the repository.
AFTERWARDS = (
    "report to-html --csv-file-path ../out/perf.csv --results-dir ../out/results",
    "report to-email --csv-file-path ../out/perf.csv --results-dir ../out/results -o ../out/mail.html "
    "--eml ../out/mail.eml",
    "database update-table --csv-file-path ../out/perf.csv --db-url sqlite:///../out/t.db",
    "generate k8s -m generated.json -o ../out/k8s",
    "generate ansible -m generated.json -o ../out/play.yml",
    "generate slurm -m generated.json -o ../out/slurm",
    "export-config --tags all -f ../context.json -o ../out/config.json",
    # Finds the secret in the URL of a model, and says so without it.
    "lint --format sarif -o ../out/lint.sarif",
    "plan --manifest-file m.json -f ../context.json --tags good",
)


@dataclass
class Workflow:
    """Three sessions: what is planned, what a build server does, what a node does with the manifest; then the
    commands that look at what came out."""

    repository: Repository
    sessions: dict[str, Session] = field(default_factory=dict)
    processes: set[str] = field(default_factory=set)
    #: Command -> exit status and output.
    commands: dict[str, tuple[int, str]] = field(default_factory=dict)

    def command(self, words: str, env: dict[str, str]) -> None:
        argv = [sys.executable, "-m", "pytest_madengine", *words.split()]
        environ = {**os.environ, **env}
        done = subprocess.run(
            argv, cwd=self.repository.root, env=environ, capture_output=True, text=True, check=False
        )
        self.commands[words] = done.returncode, done.stdout + done.stderr

    def run(self, name: str, *args: str, **options: Any) -> None:
        out = self.repository.out
        reports = (f"--junitxml={out / name}.xml", f"--html={out / name}.html", "-rA", "-v")
        self.sessions[name] = self.repository.run(*reports, *args, **options)

    @property
    def output(self) -> str:
        consoles = [session.output for session in self.sessions.values()]
        return "\n".join([*consoles, *(text for _, text in self.commands.values())])

    @property
    def records(self) -> list[dict[str, Any]]:
        """Of all sessions; an item has one of each."""
        return [
            json.loads(line)
            for path in self.repository.out.glob("results/*/records.jsonl")
            for line in path.read_text().splitlines()
        ]

    def image_texts(self, model: str) -> bytes:
        """History and configuration of the image a model ran in."""
        (image,) = {r["image"]["id"] for r in self.records if r["item_id"] == model and r["image"]["id"]}
        api = self.repository.client.api
        return json.dumps([api.history(image), api.inspect_image(image)]).encode()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, SshServer, S3Server]]:
    with ExitStack() as stack:
        buckets = tmp_path_factory.mktemp("s3")
        (buckets / "bucket").mkdir()
        (buckets / "bucket/sample").write_text("from the bucket\n")
        registry = stack.enter_context(running_registry(tmp_path_factory.mktemp("registry")))
        shelf = stack.enter_context(ssh_server())
        assert shelf.password == NAS_PASSWORD
        (shelf.data / "sample").write_text("from the shelf\n")
        yield registry, shelf, stack.enter_context(s3_server(buckets))


@pytest.fixture(scope="module")
def workflow(module_repository: Repository, servers: tuple[Registry, SshServer, S3Server]) -> Workflow:
    repository, (registry, shelf, s3) = module_repository, servers
    write_models(repository, registry, shelf, s3)
    login = {"USERNAME": ACCESS_KEY, "PASSWORD": SECRET_KEY}
    node = {"HOST": "127.0.0.1", "PORT": shelf.port, "USERNAME": shelf.user, "PASSWORD": shelf.password}
    environ = {
        "NAS_NODES": json.dumps([node]),
        "MAD_AWS_S3": json.dumps(login),
        "MAD_MINIO": json.dumps(login),
        "MAD_SECRETS_X": PLANTED["MAD_SECRETS_X"],
        "HOME": str(repository.directory / "home"),
    }
    context = f"--mad-context-file={repository.directory / 'context.json'}"
    hosts = f"--mad-known-hosts={repository.directory / 'known_hosts'}"
    made = Workflow(repository)
    with sampled_processes() as made.processes:
        made.run("plan", "--mad-plan", context, hosts, env=environ)
        build = ("--mad-build-only", f"--mad-registry={registry.host}", "--mad-manifest-out=m.json")
        made.run("build", *build, "--mad-clean-docker-cache", "-n2", context, hosts, env=environ)
        repository.remove_images()  # so that they are pulled
        out = repository.out
        outputs = (f"--mad-report={out / 'site'}", f"--mad-openmetrics={out / 'metrics.txt'}")
        outputs += (f"--mad-benchmark-json={out / 'bench.json'}", f"--mad-summary-output={out / 'sum.json'}")
        github = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(out / "step.md")}
        run = ("--mad-manifest=m.json", "-n2", context, hosts, *outputs)
        made.run("run", *run, env={**environ, **github}, tags="")
        without_url(repository.root)
        for words in AFTERWARDS:
            made.command(words, environ)
    return made


def write_models(repository: Repository, registry: Registry, shelf: SshServer, s3: S3Server) -> None:
    plain = repository.dockerfile("RUN sleep 0.5; env > /build_env", name="plain")
    declared = repository.dockerfile("ARG C_TOKEN", 'RUN test -n "$C_TOKEN"', name="declared")
    broken = repository.dockerfile("ARG C_TOKEN", "RUN echo $C_TOKEN; exit 3", name="broken")
    fields = {"cred": "C", "dockerfile": plain}
    repository.model("good", SCRIPT, **fields, data="d_nas,d_minio,d_aws")
    repository.model("bad", SCRIPT, **fields, env_vars={"FAIL": "1"})
    repository.model("given", SCRIPT, **{**fields, "dockerfile": declared})
    repository.model("unbuildable", SCRIPT, **{**fields, "dockerfile": broken})
    repository.model(
        "cloned", SCRIPT, url=f"https://me:{PLANTED['url']}@127.0.0.1:9/o/r.git", dockerfile=plain
    )
    credential = {"username": "me", "password": PLANTED["credential"], "token": PLANTED["declared"]}
    credentials = {"C": credential, registry.host: {"username": USER, "password": PASSWORD}}
    (repository.root / "credential.json").write_text(json.dumps(credentials))
    (repository.root / "credential.json").chmod(0o600)
    bucket = {"path": "s3://bucket", "endpoint_url": s3.url}
    data = {
        "d_nas": {"nas": {"path": str(shelf.data)}},
        "d_minio": {"minio": bucket},
        "d_aws": {"aws": bucket},
    }
    (repository.root / "data.json").write_text(json.dumps(data))
    directory = repository.directory
    (directory / "known_hosts").write_text(shelf.known_hosts_line)
    (directory / "home").mkdir()
    variables = {"docker_env_vars": {"MY_TOKEN": PLANTED["docker_env_vars"]}}
    (directory / "context.json").write_text(json.dumps(variables))


def without_url(root: Path) -> None:
    """A manifest of the models that may be generated: none can be whose URL is a secret."""
    content = json.loads((root / "m.json").read_text())
    keys = [key for key, entry in content["built_models"].items() if entry["name"] == "cloned"]
    for key in keys:
        del content["built_models"][key], content["built_images"][key]
    content["summary"]["failed_builds"] = []
    (root / "generated.json").write_text(json.dumps(content))


def test_the_workflow_needed_every_secret(workflow: Workflow) -> None:
    """Each of them was used: else nothing below would mean anything."""
    assert workflow.sessions["plan"].code == 0, workflow.sessions["plan"].output
    assert workflow.sessions["build"].code == 1, workflow.sessions["build"].output
    statuses = workflow.repository.statuses()
    assert statuses == {
        "good": "SUCCESS",
        "given": "SUCCESS",
        "bad": "FAILURE",
        "cloned": "FAILURE",
        "unbuildable": "FAILURE",
    }, workflow.output
    failed = {words: output for words, (code, output) in workflow.commands.items() if code}
    assert [words.partition(" ")[0] for words in failed] in ([], ["lint"]), failed
    (log,) = workflow.repository.out.glob("results/*/good/*.run.live.log")
    assert "from the shelf" in log.read_text()
    assert log.read_text().count("from the bucket") == 2
    assert "***" in log.read_text()


def test_no_file_has_a_secret(workflow: Workflow) -> None:
    """Defects 9, 30, 31: logs, records, manifest, XML, HTML, perf.csv, state of the home directory."""
    directory = workflow.repository.directory
    names = {path.name for path in directory.rglob("*")}
    assert {"m.json", "perf.csv", "records.jsonl", "build.xml", "run.html", "plan.xml"} <= names
    assert {"index.html", "metrics.txt", "bench.json", "step.md", "mail.html", "mail.eml", "t.db"} <= names
    assert {"k8s-madengine-job.yaml", "play.yml", "submit.sh", "config.json", "lint.sarif"} <= names
    found = places(directory, PLANTED)
    assert {path: what for path, what in found.items() if Path(path).name not in GIVEN} == {}


def test_no_console_has_a_secret(workflow: Workflow) -> None:
    assert found_in(workflow.output.encode(), PLANTED) == []


def test_no_process_has_a_secret(workflow: Workflow) -> None:
    """Nor has any process on the way to a registry, a data server or a container."""
    token = workflow.repository.token
    for step in (" build ", " push ", " pull "):
        assert [line for line in workflow.processes if step in line and token in line], f"no{step}was sampled"
    assert told(workflow.processes, PLANTED) == []


def test_an_image_history_has_declared_arguments_only(workflow: Workflow) -> None:
    """Section 8.3: what a Dockerfile declares stays in the history, with a warning; nothing else does."""
    assert found_in(workflow.image_texts("good"), PLANTED) == []
    assert found_in(workflow.image_texts("given"), PLANTED) == ["declared"]
    warned = {
        record["item_id"]
        for record in workflow.records
        for text in record["warnings"]
        if "image history" in text
    }
    assert warned == {"given", "unbuildable"}


def test_the_container_has_the_values(workflow: Workflow) -> None:
    """The only place where they are: unchanged in the environment of the container."""
    values = (PLANTED[name] for name in ("credential", "MAD_SECRETS_X", "docker_env_vars"))
    expected = hashlib.md5("".join(f"{value}\n" for value in values).encode()).hexdigest()
    sums = {
        path.parent.name: path.read_text().split()[0]
        for path in workflow.repository.out.glob("results/*/*/results_sum")
    }
    assert sums == dict.fromkeys(("good", "bad", "given"), expected)
    workflow.repository.assert_nothing_left()
