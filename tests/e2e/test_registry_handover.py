"""Build server and GPU node: two clones of a repository that share a registry and one manifest file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from registry_servers import PASSWORD, USER, Registry, Wire, running_registry, wire_to
from session_support import Repository, command_lines

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
SCHEMA = Path(__file__).parents[2] / "docs/reference/build_manifest.schema.json"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as made:
        yield made


@pytest.fixture
def wire(registry: Registry) -> Iterator[Wire]:
    with wire_to(registry) as made:
        yield made


@pytest.fixture
def hosts(docker_client: DockerClient, tiny_image: str, tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(docker_client, tmp_path)
    yield made
    made.clean()


class Hosts:
    """A build server, and a GPU node that gets its clone and the manifest."""

    def __init__(self, client: DockerClient, directory: Path) -> None:
        self.client = client
        self.server = Repository(client, directory / "server")
        self.node = Repository(client, directory / "node", token=self.server.token)
        self.used: set[str] = set()

    def credential(self, host: str, password: str = PASSWORD) -> None:
        """``credential.json`` on both hosts."""
        self.used.add(host)
        for repository in (self.server, self.node):
            path = repository.root / "credential.json"
            path.write_text(json.dumps({host: {"username": USER, "password": password}}))
            path.chmod(0o600)

    def build(self, host: str, *args: str, **options: Any) -> Any:
        self.used.add(host)
        return self.server.run("--mad-build-only", f"--mad-registry={host}", *args, **options)

    @property
    def manifest(self) -> Path:
        return self.server.root / "build_manifest.json"

    def content(self) -> dict[str, Any]:
        """The manifest, once it conforms to the published schema."""
        content: dict[str, Any] = json.loads(self.manifest.read_text())
        jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(content)
        return content

    def hand_over(self) -> None:
        """Copies the clone and the manifest, and takes the images from the engine."""
        for name in ("docker", "scripts", "models.json"):
            source, target = self.server.root / name, self.node.root / name
            if source.is_dir():
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(source, target)
            else:
                shutil.copyfile(source, target)
        shutil.copyfile(self.manifest, self.node.root / "build_manifest.json")
        self.remove_images()

    def remove_images(self) -> None:
        self.server.remove_images()  # the node's have the same names

    def run(self, *args: str, **options: Any) -> Any:
        options.setdefault("tags", "")
        return self.node.run("--mad-manifest=build_manifest.json", *args, **options)

    def clean(self) -> None:
        for repository in (self.server, self.node):
            repository.clean()
        self.remove_images()


def test_two_hosts(hosts: Hosts, registry: Registry) -> None:
    """Build, push, copy the manifest only, remove local images, run: the same digests in both records."""
    hosts.credential(registry.host)
    hosts.server.dockerfile("RUN echo other > /other", name="b")
    hosts.server.model("one", "echo A=$A; echo performance: 5 sps")
    hosts.server.model("two", dockerfile=f"docker/{hosts.server.token}b")
    built = hosts.build(
        registry.host, "-n2", "--mad-build-summary=s.json", "--mad-context", '{"docker_env_vars": {"A": "7"}}'
    )
    assert built.code == 0, built.output
    content = hosts.content()
    assert content["registry"] == registry.host
    assert sorted(entry["name"] for entry in content["built_models"].values()) == ["one", "two"]
    summary = json.loads((hosts.server.root / "s.json").read_text())
    assert [entry["model"] for entry in summary["successful_pushes"]] == ["one", "two"]
    assert hosts.server.rows() == []  # results come from the run

    hosts.hand_over()
    before = (hosts.node.root / "build_manifest.json").read_bytes()
    ran = hosts.run("--mad-require-pinned", "--mad-run-summary=r.json")
    assert ran.code == 0, ran.output
    # Defect 18: the manifest is unchanged; defect 45: its context is applied.
    assert (hosts.node.root / "build_manifest.json").read_bytes() == before
    assert "A=7" in hosts.node.log("one")
    assert hosts.node.statuses() == {"one": "SUCCESS", "two": "SUCCESS"}
    for item, record in hosts.server.records().items():
        other = hosts.node.records()[item]
        assert record["image"]["digest"].startswith("sha256:")
        assert record["image"]["digest"] == other["image"]["digest"]
        assert record["image"]["id"] == other["image"]["id"]
    assert len(json.loads((hosts.node.root / "r.json").read_text())["successful_runs"]) == 2
    row = hosts.node.row("one")
    assert row["docker_image"] == f"ci-one_{hosts.server.base}"
    assert float(row["build_duration"]) > 0

    # Tags filter, context of the command line wins, the last step needs no registry any more.
    again = hosts.run("--mad-context", '{"docker_env_vars": {"A": "8"}}', tags="one")
    assert again.code == 0, again.output
    assert [path for path in hosts.node.out.glob("results/*/one/*.run.live.log") if "A=8" in path.read_text()]
    nothing = hosts.run(tags="nonexistent")
    assert nothing.code == 4, nothing.output


def test_defect_29_the_password_is_nowhere(hosts: Hosts, registry: Registry) -> None:
    """Defect 29: given a registry password / when images are pushed and pulled / then no process list, log
    or file has it."""
    hosts.credential(registry.host)
    hosts.server.dockerfile("RUN sleep 1")
    hosts.server.model("one")
    session = hosts.server.start("--mad-build-only", f"--mad-registry={registry.host}")
    seen: set[str] = set()
    while session.process.poll() is None:
        seen.update(command_lines())
    assert session.wait().code == 0, session.output
    assert any(" push " in line for line in seen)
    hosts.hand_over()
    ran = hosts.run()
    assert ran.code == 0, ran.output
    assert not [line for line in seen if PASSWORD in line]
    assert PASSWORD not in session.output + ran.output
    for path in hosts.server.directory.parent.rglob("*"):
        if path.is_file() and path.name != "credential.json":
            assert PASSWORD.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("password", ["wrong-pass-word", None])
def test_a_registry_that_does_not_let_us_in(hosts: Hosts, registry: Registry, password: str | None) -> None:
    """Wrong password, or none: a failed item with the reason; the manifest says what is missing."""
    if password is not None:
        hosts.credential(registry.host, password)
    hosts.server.model("one")
    built = hosts.build(registry.host)
    assert built.code == 1, built.output
    reason = hosts.server.reason("one")
    if password is None:
        assert reason.startswith(f"No credentials found for registry: {registry.host}\nPlease add")
    else:
        assert "docker login to" in reason
        assert "unauthorized" in reason.lower()
        assert password not in built.output + reason
    # Defect 46: a push that fails is a failure, with a row and its place in the manifest.
    assert hosts.server.statuses() == {"one": "FAILURE"}
    content = hosts.content()
    (failure,) = content["push_failures"]
    assert failure["intended_registry_image"] == f"{registry.host}/ci-one_{hosts.server.base}"
    assert content["built_images"][failure["image"]]["push_failed"] is True
    # The image itself is there: on this host the manifest runs, elsewhere the reason is told.
    hosts.hand_over()
    ran = hosts.run()
    assert ran.code == 1
    assert "was not pushed" in hosts.node.reason("one")


def test_an_unknown_registry(hosts: Hosts, registry: Registry) -> None:
    """An unknown registry: a clear error after retries, no credential is asked for."""
    hosts.server.model("one")
    built = hosts.build("127.0.0.1:9")
    assert built.code == 1, built.output
    assert "connection refused" in hosts.server.reason("one")
    assert "credentials" not in hosts.server.reason("one")
    assert hosts.content()["summary"]["failed_pushes"][0]["model"] == "one"


def test_defect_10_one_build_fails(hosts: Hosts, registry: Registry) -> None:
    """Defect 10: given a build error among other models / when the manifest is built and run / then one
    FAILURE row on each host, the others run."""
    hosts.credential(registry.host)
    hosts.server.dockerfile("RUN exit 3", name="bad")
    hosts.server.model("one").model("broken", dockerfile=f"docker/{hosts.server.token}bad")
    assert hosts.build(registry.host).code == 1
    assert hosts.server.statuses() == {"broken": "FAILURE"}
    assert [entry["model"] for entry in hosts.content()["summary"]["failed_builds"]] == ["broken"]
    hosts.hand_over()
    assert hosts.run().code == 1
    assert hosts.node.statuses() == {"one": "SUCCESS", "broken": "FAILURE"}
    assert "the image was not built" in hosts.node.reason("broken")


def last_record(repository: Repository) -> dict[str, Any]:
    """The record of the only item of the newest session."""
    newest = max(repository.out.glob("results/*/records.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    record: dict[str, Any] = json.loads(newest.read_text())
    return record


# ---- registries that die ------------------------------------------------------------------------------


def random_layer(hosts: Hosts) -> None:
    """An image with 24 MiB that nothing compresses."""
    hosts.server.dockerfile("RUN dd if=/dev/urandom of=/blob bs=1M count=24")
    hosts.server.model("one")


def test_registry_killed_in_the_middle_of_a_push(hosts: Hosts, registry: Registry, wire: Wire) -> None:
    """It comes back: the push succeeds at last, the image that runs is the one that was built."""
    hosts.credential(wire.host)
    random_layer(hosts)

    def restart() -> None:
        registry.kill()
        registry.start()

    wire.limit, wire.on_cut = 8 << 20, restart
    built = hosts.build(wire.host)
    assert wire.cuts == 1
    assert built.code == 0, built.output
    hosts.hand_over()
    assert hosts.run("--mad-require-pinned").code == 0


def test_registry_that_stays_away(hosts: Hosts, registry: Registry, wire: Wire) -> None:
    """It does not come back: a failed item within the limit, and nothing in the manifest to pull."""
    hosts.credential(wire.host)
    random_layer(hosts)

    def gone() -> None:
        wire.open = False

    wire.limit, wire.on_cut = 8 << 20, gone
    built = hosts.build(wire.host, "--mad-timeout-pull=8")
    assert built.code == 1, built.output
    assert "Program timed out. Requested timeout=8" in hosts.server.reason("one")
    block = next(iter(hosts.content()["built_images"].values()))
    assert block["push_failed"] is True
    assert "registry_digest" not in block


def test_registry_killed_in_the_middle_of_a_pull(hosts: Hosts, registry: Registry, wire: Wire) -> None:
    """A retry that succeeds; without the registry a clear error, or the local image where it is the same."""
    hosts.credential(wire.host)
    random_layer(hosts)
    assert hosts.build(wire.host).code == 0
    hosts.hand_over()

    def restart() -> None:
        registry.kill()
        registry.start()

    wire.limit, wire.on_cut = 8 << 20, restart
    ran = hosts.run("--mad-require-pinned")
    assert wire.cuts == 1
    assert ran.code == 0, ran.output

    wire.open = False
    with_local = hosts.run()
    assert with_local.code == 0, with_local.output
    warnings = last_record(hosts.node)["warnings"]
    assert any(
        text.startswith("Failed to pull from registry, falling back to local image:") for text in warnings
    )
    # Another image of that name is not taken for it: it is known by its id, and without it nothing runs.
    right = last_record(hosts.node)["image"]["id"]
    hosts.client.api.tag("mad-test/tiny:latest", f"ci-one_{hosts.server.base}")
    by_id = hosts.run()
    assert by_id.code == 0, by_id.output
    assert last_record(hosts.node)["image"]["id"] == right
    hosts.client.images.remove(right, force=True)
    assert hosts.run().code == 1
    assert "failed" in last_record(hosts.node)["reason"]


# ---- other ways ---------------------------------------------------------------------------------------


def test_build_push_and_run_in_one_session(hosts: Hosts, registry: Registry) -> None:
    """The full workflow with a registry: pushed before it runs, and the manifest is written as well."""
    hosts.credential(registry.host)
    hosts.server.model("one")
    ran = hosts.server.run(
        f"--mad-registry={registry.host}", "--mad-manifest-out=m.json", "--mad-run-summary=s.json",
        "--mad-build-summary=s.json",
    )  # fmt: skip
    assert ran.code == 0, ran.output
    assert hosts.server.statuses() == {"one": "SUCCESS"}
    (block,) = json.loads((hosts.server.root / "m.json").read_text())["built_images"].values()
    assert block["registry_digest"] == hosts.server.records()["one"]["image"]["digest"]
    both = json.loads((hosts.server.root / "s.json").read_text())
    assert both["overall_success"] is True
    assert len(both["build_phase"]["successful_pushes"]) == len(both["run_phase"]["successful_runs"]) == 1


def test_manifest_of_the_predecessor(hosts: Hosts, registry: Registry) -> None:
    """Contract 9.3: v1 files; an image without ``registry_image`` is looked for where the registry has it."""
    hosts.credential(registry.host)
    hosts.server.model("one")
    assert hosts.build(registry.host).code == 0
    content = hosts.content()
    for key in ("schema_version", "generator"):
        del content[key]
    for block in content["built_images"].values():
        for key in ("image_id", "registry_digest", "registry_image", "registry"):
            del block[key]
    hosts.manifest.write_text(json.dumps(content))
    hosts.hand_over()
    ran = hosts.run()
    assert ran.code == 0, ran.output
    log = next(hosts.node.out.glob("results/*/one/pull.live.log")).read_text()
    assert f"pull {registry.host}/ci-one_{hosts.server.base}" in log
    pinned = hosts.run("--mad-require-pinned")
    assert pinned.code == 1
    assert "is not pinned" in last_record(hosts.node)["reason"]


def test_one_image_for_each_architecture(hosts: Hosts, registry: Registry) -> None:
    """Contract 8.3, ``--mad-target-archs``: built and pushed for each, the node runs that of its GPUs."""
    hosts.credential(registry.host)
    hosts.server.dockerfile(
        "ARG MAD_SYSTEM_GPU_ARCHITECTURE", "RUN echo $MAD_SYSTEM_GPU_ARCHITECTURE > /arch"
    )
    hosts.server.model("one", "cat /arch; echo performance: 1 sps")
    built = hosts.build(registry.host, "--mad-target-archs=gfx90a,gfx942")
    assert built.code == 0, built.output
    assert {block["gpu_architecture"] for block in hosts.content()["built_images"].values()} == {
        "gfx90a",
        "gfx942",
    }
    hosts.hand_over()
    ran = hosts.run("--mad-simulate-gpus=1:gfx942")
    assert ran.code == 0, ran.output
    assert hosts.node.reason("one[gfx90a]") == "image was built for gfx90a, host has gfx942"
    logs = [path.read_text() for path in hosts.node.out.glob("results/*/*gfx942*/*.run.live.log")]
    assert len(logs) == 1
    assert "gfx942" in logs[0]


def test_batch_manifest(hosts: Hosts, registry: Registry) -> None:
    """Contract 9.3: what is not built is only listed, then pulled from where the entry says."""
    hosts.credential(registry.host)
    hosts.server.model("new").model("old")
    assert hosts.build(registry.host, tags="old").code == 0
    reference = f"{registry.host}/ci-old_{hosts.server.base}"
    (hosts.server.root / "batch.json").write_text(
        json.dumps(
            [{"model_name": "new", "build_new": True}, {"model_name": "old", "registry_image": reference}]
        )
    )
    hosts.remove_images()
    built = hosts.build(registry.host, "--mad-batch-manifest=batch.json", tags="")
    assert built.code == 0, built.output
    blocks = hosts.content()["built_images"]
    assert [block["build_status"] for block in blocks.values()] == ["SUCCESS", "SKIPPED"]
    hosts.hand_over()
    ran = hosts.run()
    assert ran.code == 0, ran.output
    assert hosts.node.statuses() == {"new": "SUCCESS", "old": "SUCCESS"}
    direct = hosts.server.run("--mad-batch-manifest=batch.json", f"--mad-registry={registry.host}", tags="")
    assert direct.code == 0, direct.output
