"""Builds on the running engine, with every docker client of this machine."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pytest_madengine.engine import cli as cli_module
from pytest_madengine.engine.cli import DockerCli, find_docker_cli
from pytest_madengine.engine.client import connect
from pytest_madengine.errors import BuildError, EngineError, PullError
from pytest_madengine.images.builder import BuildRequest, ImageBuilder
from pytest_madengine.images.dockerfile import DockerfileMatch
from pytest_madengine.secrets import Redactor, Secret

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.e2e

TOKEN = "tok-e2e-4711-planted"


def _clients() -> Sequence[object]:
    """Each docker client on PATH, with and without BuildKit as far as it can."""
    found = []
    seen = set()
    for path in (Path(part, "docker") for part in os.environ["PATH"].split(os.pathsep)):
        if not path.exists() or path.resolve() in seen:
            continue
        seen.add(path.resolve())
        for buildkit in ("1", "0"):
            found.append(pytest.param((str(path.parent), buildkit), id=f"{path}-buildkit-{buildkit}"))
    return found or [pytest.param(("", ""), marks=pytest.mark.skip(reason="no docker client on PATH"))]


@pytest.fixture(params=_clients())
def environ(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    directory, buildkit = request.param
    cli_module._find.cache_clear()
    variables = {**os.environ, "PATH": directory}
    variables.pop("DOCKER_BUILDKIT", None)
    if buildkit == "0":
        variables["DOCKER_BUILDKIT"] = "0"
    elif not find_docker_cli(variables).buildkit:
        pytest.skip("this client has no BuildKit")
    yield variables
    cli_module._find.cache_clear()


def _processes() -> list[str]:
    return subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout.splitlines()


class Bench:
    """A MAD root with one Dockerfile, and a builder."""

    def __init__(self, root: Path, client: DockerClient, environ: dict[str, str]) -> None:
        self.root = root
        self.client = client
        self.environ = environ
        self.redactor = Redactor()
        self.name = f"ci-mad-test-{uuid.uuid4().hex[:8]}"
        (root / "docker").mkdir()

    def builder(self) -> ImageBuilder:
        return ImageBuilder(
            lambda: self.client, self.environ, self.redactor, self.root / "state", self.root / "locks"
        )

    def request(self, text: str, **changes: object) -> BuildRequest:
        path = self.root / "docker/m.Dockerfile"
        path.write_text(text)
        request = BuildRequest(
            model_name="m",
            dockerfile=DockerfileMatch(path, "docker/m.Dockerfile", "m"),
            context_dir=self.root / "docker",
            names=(self.name,),
            build_args={},
            tools_context=None,
            pull=False,
            no_cache=False,
            timeout=300,
            log_path=self.root / "m.build.live.log",
            labels={"mad-test": "1"},
            base_docker="mad-test/tiny:latest",
        )
        return replace(request, **changes)  # type: ignore[arg-type]

    @property
    def cli(self) -> DockerCli:
        return find_docker_cli(self.environ)


@pytest.fixture
def bench(
    tmp_path: Path, docker_client: DockerClient, tiny_image: str, environ: dict[str, str]
) -> Iterator[Bench]:
    made = Bench(tmp_path, docker_client, environ)
    yield made
    deadline = time.monotonic() + 60
    while left := [
        container.id
        for container in docker_client.containers.list(
            all=True, filters={"ancestor": tiny_image}, ignore_removed=True
        )
        if made.name in str(container.attrs["Config"])
    ]:
        assert time.monotonic() < deadline, f"the build left containers behind: {left}"
    for image in docker_client.images.list(filters={"label": "mad-test=1"}):
        if any(made.name in tag for tag in image.tags):
            docker_client.images.remove(str(image.id), force=True)


def test_a_build(bench: Bench) -> None:
    text = 'FROM mad-test/tiny:latest\nARG N\nENV FROM_ARG=$N\nRUN echo "héllo $N" && printf "\\377\\n"\n'
    image = bench.builder().ensure(bench.request(text, build_args={"N": "4 '; $(id)"}))
    found = bench.client.images.get(image.name)
    assert image.id == found.id
    assert image.env["FROM_ARG"] == "4 '; $(id)"
    assert image.base_docker == "mad-test/tiny:latest"
    assert image.docker_sha == ""
    assert image.build_duration > 0
    assert found.labels["mad-test"] == "1"
    log = Path(image.build_log).read_text(encoding="utf-8")
    assert "héllo 4 '; " in log
    assert "docker build ended with status 0" in log


def test_equal_builds_are_one_and_every_model_gets_its_name(bench: Bench) -> None:
    """Contract 8.3: one build, the image gets the name of every model that uses it."""
    text = f"FROM mad-test/tiny:latest\nRUN echo {bench.name}\n"
    requests = [
        bench.request(text, names=(f"{bench.name}-{n}",), log_path=bench.root / f"item{n}/build.log")
        for n in range(3)
    ]
    with ThreadPoolExecutor(3) as pool:
        images = list(pool.map(lambda request: bench.builder().ensure(request), requests))
    assert len({image.id for image in images}) == 1
    assert len({image.build_duration for image in images}) == 1
    for request, image in zip(requests, images, strict=True):
        assert bench.client.images.get(request.names[0]).id == image.id
        assert Path(image.build_log).read_text().count(f"RUN echo {bench.name}") >= 1
    assert len(list((bench.root / "state").glob("*.json"))) == 1


def test_a_failing_build(bench: Bench) -> None:
    """Defects 6, 10: given a failing build / when run / then its output is in log and error, once built."""
    step = f'RUN echo "{bench.name}"; echo "the output"; echo oops >&2; exit 3'
    request = bench.request(f"FROM mad-test/tiny:latest\n{step}\n")
    with pytest.raises(BuildError) as caught:
        bench.builder().ensure(request)
    assert "docker/m.Dockerfile (m) failed: " in caught.value.message
    assert "3" in caught.value.message
    assert any(line.endswith("the output") for line in caught.value.log_tail)
    log = request.log_path.read_text()
    assert "the output" in log
    assert "oops" in log
    again = replace(request, log_path=bench.root / "other.log")
    with pytest.raises(BuildError) as second:
        bench.builder().ensure(again)
    assert second.value.message == caught.value.message
    assert again.log_path.read_text() == log, "the second item did not build"


def test_secrets_are_passed_by_name_and_masked(bench: Bench) -> None:
    """Defects 9, 30, 42: given a failing build with a secret / when run / then the real error, redacted."""
    step = f'RUN echo {bench.name} "<$MAD_SECRETS_X>" && false'
    text = f"FROM mad-test/tiny:latest\nARG MAD_SECRETS_X\n{step}\n"
    request = bench.request(text, build_args={"MAD_SECRETS_X": Secret(TOKEN)})
    with pytest.raises(BuildError) as caught:
        bench.builder().ensure(request)
    log = request.log_path.read_text()
    assert f"{bench.name} <***>" in log
    assert TOKEN not in log + repr(caught.value) + "".join(caught.value.log_tail)
    assert all(TOKEN not in path.read_text() for path in (bench.root / "state").iterdir())


def test_an_undeclared_build_secret_stays_out_of_the_history(bench: Bench) -> None:
    """Defect 30: given a build secret / when built / then the image history does not hold it."""
    if not bench.cli.buildkit:
        pytest.skip("build secrets need BuildKit")
    text = "FROM mad-test/tiny:latest\nRUN --mount=type=secret,id=MAD_SECRETS_X wc -c /run/secrets/*\n"
    image = bench.builder().ensure(bench.request(text, build_secrets={"MAD_SECRETS_X": Secret(TOKEN)}))
    assert TOKEN not in str(bench.client.images.get(image.name).history())
    assert str(len(TOKEN)) in Path(image.build_log).read_text()


def test_a_limit_ends_the_build(bench: Bench) -> None:
    """Defect 48: given a build longer than its limit / when run / then it is stopped with all children."""
    marker = f"sleep 97 && : {bench.name}"
    request = bench.request(f"FROM mad-test/tiny:latest\nRUN {marker}\n", timeout=2)
    with pytest.raises(BuildError, match=r"^Program timed out\. Requested timeout=2$"):
        bench.builder().ensure(request)
    assert "ended with status" in request.log_path.read_text()
    deadline = time.monotonic() + 60
    while any(marker in line for line in _processes()):  # the engine ends the step a moment later
        assert time.monotonic() < deadline, "the step of the build still runs"


def test_an_unreachable_registry_is_a_pull_error(bench: Bench) -> None:
    """Defect 13: given an unreachable registry / when built / then a pull error, no text as docker_sha."""
    with pytest.raises(PullError, match="the base image cannot be pulled"):
        bench.builder().ensure(bench.request("FROM 127.0.0.1:9/none/none:1\nRUN true\n"))


@pytest.mark.parametrize("text", ["FRM x\n", "FROM mad-test/tiny:latest\nCOPY nothing /x\n"])
def test_a_wrong_dockerfile_is_a_build_error(bench: Bench, text: str) -> None:
    with pytest.raises(BuildError, match=r"docker/m\.Dockerfile \(m\) failed: .+"):
        bench.builder().ensure(bench.request(text))


def test_no_engine(bench: Bench) -> None:
    bench.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    with pytest.raises(EngineError):
        bench.builder().ensure(bench.request("FROM mad-test/tiny:latest\n"))


def test_an_image_removed_meanwhile_is_built_again(bench: Bench) -> None:
    request = bench.request(f"FROM mad-test/tiny:latest\nLABEL unique={bench.name}\n")
    first = bench.builder().ensure(request)
    bench.client.images.remove(first.id, force=True)
    assert bench.client.images.get(bench.builder().ensure(request).name).id


def test_a_given_image(bench: Bench) -> None:
    image = bench.builder().given("mad-test/tiny:latest", pull=False)
    assert image.id == bench.client.images.get("mad-test/tiny:latest").id
    assert image.env["PATH"] == "/usr/local/bin:/usr/bin:/bin"
    assert bench.builder().given(image.id).id == image.id
    with pytest.raises(PullError, match="cannot be pulled"):
        bench.builder().given("127.0.0.1:9/none:1", log_path=bench.root / "pull.log")
    with pytest.raises(PullError, match="there is no local image"):
        bench.builder().given("mad-test/none:1", pull=False)


def _same(path: Path, text: str) -> Path:
    """A file whose size and time are those of any other one made here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def _says(bench: Bench, request: BuildRequest) -> str:
    """What the image of a request has in ``/who``; requests have names of their own."""
    request = replace(request, names=(f"{bench.name}-{uuid.uuid4().hex[:8]}",))
    image = bench.builder().ensure(request)
    return bench.client.containers.run(image.id, ["cat", "/who"], remove=True, network_mode="none").decode()


def test_files_of_equal_name_size_and_time_are_told_apart(bench: Bench) -> None:
    """Faults 1.6: given Dockerfiles, .dockerignore files and contexts that differ in content alone, as after
    a fresh clone / when built / then every image has its own content."""
    base = bench.request("")
    seen = []
    for name in "ab":
        path = _same(
            bench.root / name / "x.Dockerfile", f"FROM mad-test/tiny:latest\nRUN echo {name} >/who\n"
        )
        match = DockerfileMatch(path, f"{name}/x.Dockerfile", "x")
        seen.append(_says(bench, replace(base, dockerfile=match)))
    copies = "FROM mad-test/tiny:latest\nCOPY . /c\nRUN cat /c/f >/who; ls /c >>/who\n"
    for name in "cd":
        path = _same(bench.root / name / "x.Dockerfile", copies)
        _same(bench.root / f"{name}/x.Dockerfile.dockerignore", f"{name}\n")
        for each in "cdf":
            _same(bench.root / name / "context" / each, name)
        match = DockerfileMatch(path, f"{name}/x.Dockerfile", "x")
        seen.append(_says(bench, replace(base, dockerfile=match, context_dir=bench.root / name / "context")))
    _same(bench.root / "d/context/f", "e")
    (bench.root / "state").rename(bench.root / "earlier session")
    seen.append(_says(bench, replace(base, dockerfile=match, context_dir=bench.root / "d/context")))
    ignored = [("d\nf\n", "c\nf\n", "c\nf\n") if bench.cli.buildkit else ("c\nd\nf\n",) * 3][0]
    assert seen == ["a\n", "b\n", *(f"{name}{rest}" for name, rest in zip("cde", ignored, strict=True))]


@pytest.mark.parametrize("chain", [False, True])
def test_a_dockerfile_that_is_a_link(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory, chain: bool
) -> None:
    """Faults 1.2: given a Dockerfile that is a link, also to a link to a file outside of the root / when
    built / then it is built, with the .dockerignore beside it."""
    outside = tmp_path_factory.mktemp("outside")
    target = (outside if chain else bench.root / "docker") / "target"
    target.write_text("FROM mad-test/tiny:latest\nCOPY . /c\nRUN ls /c >/who\n")
    link = bench.root / "scripts/d/docker/x.ubuntu.amd.Dockerfile"
    link.parent.mkdir(parents=True)
    if chain:
        (link.parent / "between").symlink_to(target)
        link.symlink_to("between")
    else:
        link.symlink_to("../../../docker/target")
    (link.parent / f"{link.name}.dockerignore").write_text("*\n!seen\n")
    context = bench.root / "docker"
    (context / "seen").touch()
    base = bench.request("")
    request = replace(base, dockerfile=DockerfileMatch(link, "scripts/d/docker/x.ubuntu.amd.Dockerfile", "x"))
    said = _says(bench, request).split()
    assert "seen" in said
    assert not bench.cli.buildkit or said == ["seen"]


def test_an_image_of_another_dockerfile_is_never_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults 1.6: given a client that is made to name another image / when built / then an error."""
    monkeypatch.setattr("pytest_madengine.images.buildfiles.takes_another_instruction", lambda text: True)
    if bench.cli.buildkit:
        text = "FROM mad-test/tiny:latest\nRUN \\\n true \\\n"  # swallows the label
        with pytest.raises(EngineError, match="an image that was not built from this Dockerfile"):
            bench.builder().ensure(bench.request(text))


def test_connect(docker_client: DockerClient) -> None:
    client = connect(os.environ)
    try:
        assert client.ping()
        assert client.version()["ApiVersion"]
    finally:
        client.close()
