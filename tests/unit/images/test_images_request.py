"""What is built, with which arguments (contract 8.3)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pytest_madengine.catalog.model import Model, Parameter
from pytest_madengine.context.types import Context, HostFacts
from pytest_madengine.engine.cli import DockerCli
from pytest_madengine.engine.endpoint import Endpoint
from pytest_madengine.errors import BuildError, EngineError
from pytest_madengine.images.command import build_argv, build_environ
from pytest_madengine.images.dockerfile import DockerfileMatch
from pytest_madengine.images.request import BuildRequest, build_key, make_build_request
from pytest_madengine.secrets import Secret
from pytest_madengine.settings import Settings

HOST = Endpoint("unix:///run/d.sock", "DOCKER_HOST")
BUILDX = DockerCli("/usr/bin/docker", True, True, "28.0.0")
BUILDKIT = DockerCli("/usr/bin/docker", True, False, "20.10.24")
CLASSIC = DockerCli("/usr/bin/docker", False, False, "28.0.0")
PODMAN = DockerCli("/usr/bin/podman", True, True, "4.3.1", "podman")


class Root:
    """A MAD root whose one Dockerfile can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "docker").mkdir()
        self.dockerfile = "docker/m.Dockerfile"

    def request(
        self,
        text: str = "FROM x\n",
        build_args: Mapping[str, Any] | None = None,
        parameters: tuple[Parameter, ...] = (),
        credentials: Mapping[str, str | Secret] | None = None,
        model: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        facts: HostFacts | None = None,
        **more: Any,
    ) -> BuildRequest:
        path = self.path / self.dockerfile
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        entry = Model(**{"name": "m", "dockerfile": "docker/m", "scripts": "s", **(model or {})})
        return make_build_request(
            entry,
            parameters,
            DockerfileMatch(path, self.dockerfile, "m", {"gpu_vendor": "AMD"}),
            Context({"docker_build_arg": dict(build_args or {})}, facts=facts or HostFacts()),
            credentials or {},
            Settings(root=self.path, results_dir=self.path, output=self.path, **(settings or {})),
            log_path=self.path / "m.log",
            labels={"pytest-madengine.model": "m"},
            **more,
        )

    def argv(self, request: BuildRequest, cli: DockerCli = BUILDX) -> list[str]:
        return build_argv(request, cli, (self.path / self.dockerfile).read_text(), Path("/state/x.iid"))


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path)


def arguments(argv: list[str], flag: str = "--build-arg") -> list[str]:
    return [value for option, value in itertools.pairwise(argv) if option == flag]


def test_the_argument_list(root: Root) -> None:
    """Contract 8.3, argument list and its order."""
    (root.path / "docker/common").mkdir()
    request = root.request(build_args={"N": 4}, settings={"clean_docker_cache": True})
    assert root.argv(request) == [
        "/usr/bin/docker",
        "build",
        "--no-cache",
        "--network=host",
        "--build-context",
        f"tools={root.path}/docker/common",
        "-t",
        "ci-m_m",
        "--pull",
        "-f",
        f"{root.path}/docker/m.Dockerfile",
        "--build-arg",
        "N=4",
        "--label",
        "pytest-madengine.model=m",
        "--iidfile",
        "/state/x.iid",
        f"{root.path}/docker",
    ]


def test_without_pull_and_cache(root: Root) -> None:
    argv = root.argv(root.request(settings={"no_pull": True}))
    assert "--pull" not in argv
    assert "--no-cache" not in argv
    assert "--build-context" not in argv


@pytest.mark.parametrize(
    ("dockerfile", "made", "dockercontext", "expected"),
    [
        pytest.param("docker/m.Dockerfile", ["ctx"], "ctx", "ctx", id="8.3-dockercontext"),
        pytest.param("docker/m.Dockerfile", ["ctx"], "./ctx", "ctx", id="8.3-dockercontext-dot"),
        pytest.param("docker/primus_m.Dockerfile", [], "", ".", id="8.3-primus"),
        pytest.param("docker/m.Dockerfile", [], "", "docker", id="8.3-default"),
        pytest.param("other/m.Dockerfile", ["-docker"], "", ".", id="8.3-root"),
    ],
)
def test_context_directories(
    root: Root, dockerfile: str, made: list[str], dockercontext: str, expected: str
) -> None:
    """Contract 8.3, row context directory."""
    for name in made:
        if name.startswith("-"):
            (root.path / name[1:]).rmdir()
        else:
            (root.path / name).mkdir()
    root.dockerfile = dockerfile
    request = root.request(model={"dockercontext": dockercontext})
    assert request.context_dir.resolve() == (root.path / expected).resolve()


def test_a_context_directory_that_is_none(root: Root) -> None:
    with pytest.raises(BuildError, match=r"models\.json: model m: dockercontext 'none' is no directory"):
        root.request(model={"dockercontext": "none"})


def test_build_arguments(root: Root) -> None:
    """Contract 8.3: docker_build_arg, parameters with a matching ARG, MAD_SYSTEM_GPU_ARCHITECTURE."""
    request = root.request(
        "ARG bs\nARG flag\nFROM x\n",
        {"N": 4, "T": True, "S": "a b", "bs": "0"},
        (Parameter("bs", "1"), Parameter("flag"), Parameter("other", "2")),
        facts=HostFacts(gpu_architecture="gfx90a"),
    )
    assert arguments(root.argv(request)) == [
        "MAD_SYSTEM_GPU_ARCHITECTURE=gfx90a",
        "N=4",
        "T=true",
        "S=a b",
        "bs=1",
        "flag=1",
    ]
    assert request.names[0].startswith("ci-m_m-")
    assert root.request(parameters=(Parameter("other", "2"),)).names == ("ci-m_m",)


def test_target_architecture(root: Root) -> None:
    """Contract 8.3, row target-archs."""
    request = root.request(
        build_args={"MAD_SYSTEM_GPU_ARCHITECTURE": "gfx1"}, arch="gfx942", platform="linux/amd64"
    )
    argv = root.argv(request)
    assert arguments(argv) == ["MAD_SYSTEM_GPU_ARCHITECTURE=gfx942"]
    assert arguments(argv, "--platform") == ["linux/amd64"]
    assert request.names == ("ci-m_m_gfx942",)


SECRETS = {
    "MAD_SECRETS_X": Secret("planted-1"),
    "HF_TOKEN": "planted-2",
    "INDEX": "https://u:planted-3@host/simple",
    "https_proxy": "http://u:planted-4@proxy",
    "UNUSED_TOKEN": "planted-5",
}
CREDENTIALS: dict[str, str | Secret] = {"AMD_USERNAME": "joe", "AMD_PASSWORD": Secret("planted-6")}


def test_secrets_are_passed_by_name_only_when_declared(root: Root) -> None:
    """Defect 30: given secrets and credentials / when built / then the argument list has only names."""
    text = "ARG HF_TOKEN\nFROM x\nARG MAD_SECRETS_X INDEX\nARG AMD_PASSWORD\nARG AMD_USERNAME\n"
    request = root.request(text, SECRETS, credentials=CREDENTIALS)
    for cli in (BUILDX, BUILDKIT, CLASSIC, PODMAN):
        argv = root.argv(request, cli)
        assert "planted" not in " ".join(argv)
        names = ["AMD_PASSWORD", "AMD_USERNAME", "HF_TOKEN", "INDEX", "MAD_SECRETS_X", "https_proxy"]
        assert sorted(arguments(argv)) == names
        offered = [f"id={name},env={name}" for name in names] if cli.buildkit else []
        assert arguments(argv, "--secret") == offered
        environ = build_environ(request, cli, {"PATH": "/bin", "AWS_SECRET": "no"}, HOST)
        assert environ["MAD_SECRETS_X"] == "planted-1"
        assert environ["AMD_USERNAME"] == "joe"
        assert environ["https_proxy"].endswith("@proxy")
        assert "AWS_SECRET" not in environ
        assert "UNUSED_TOKEN" not in environ
        assert environ.get("DOCKER_BUILDKIT") == {BUILDX: "1", BUILDKIT: "1", CLASSIC: "0"}.get(cli)
    assert "planted" not in repr(request)
    (note,) = request.notes
    assert "stay in the image history" in note


def test_a_secret_that_is_only_mounted_is_no_build_argument(root: Root) -> None:
    text = "FROM x\nRUN --mount=type=secret,id=MAD_SECRETS_X true\n"
    request = root.request(text, SECRETS)
    argv = root.argv(request)
    assert arguments(argv) == ["https_proxy"]
    assert arguments(argv, "--secret") == [
        "id=MAD_SECRETS_X,env=MAD_SECRETS_X",
        "id=https_proxy,env=https_proxy",
    ]
    assert build_environ(request, BUILDX, {}, HOST)["MAD_SECRETS_X"] == "planted-1"


def test_a_secret_cannot_replace_a_variable_of_the_client(root: Root) -> None:
    request = root.request("ARG DOCKER_TOKEN\nFROM x", {"DOCKER_TOKEN": "planted"})
    with pytest.raises(BuildError, match="DOCKER_TOKEN cannot be a secret build argument"):
        build_environ(request, BUILDX, {}, HOST)


@pytest.mark.parametrize("value", ["'; touch x; $(id) \"", "--no-cache", "a\nb", "é"])
def test_values_arrive_as_one_argument(root: Root, value: str) -> None:
    """Defect 26: given values with special characters / when built / then each is one argument."""
    assert arguments(root.argv(root.request(build_args={"A": value}))) == [f"A={value}"]


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a\0b"])
def test_impossible_argument_names(root: Root, name: str) -> None:
    with pytest.raises(BuildError, match="cannot be passed as a build argument"):
        root.request(build_args={name: "1"})


def test_the_classic_builder_keeps_no_container(root: Root) -> None:
    """design, promise 3: nothing is left behind, also by a failing step."""
    assert "--force-rm" in root.argv(root.request(), CLASSIC)
    assert "--force-rm" not in root.argv(root.request(), BUILDKIT)


def test_impossible_values_and_names(root: Root) -> None:
    with pytest.raises(BuildError, match="'A' cannot be passed"):
        root.request(build_args={"A": "a\0b"})
    with pytest.raises(BuildError, match="'-x' is not a valid image name"):
        root.argv(replace(root.request(), names=("-x",)))


def test_the_tools_context_needs_a_client_that_has_it(root: Root) -> None:
    (root.path / "docker/common").mkdir()
    used = root.request("FROM x\nCOPY --from=tools a b")
    with pytest.raises(EngineError, match="takes files from the build context 'tools'"):
        root.argv(used, BUILDKIT)
    assert "--build-context" in root.argv(used, BUILDX)
    assert "--build-context" not in root.argv(root.request("FROM x"), CLASSIC)


def test_base_docker(root: Root) -> None:
    """Contract 7.2: BASE_DOCKER also sets base_docker."""
    assert root.request("ARG BASE_DOCKER=a\nFROM $BASE_DOCKER", {"BASE_DOCKER": "b"}).base_docker == "b"
    assert root.request("ARG BASE_DOCKER=a\nFROM $BASE_DOCKER").base_docker == "a"


def test_repaired_names_are_noted(root: Root) -> None:
    (note,) = root.request(model={"name": "a b"}).notes
    assert "ci-a-b_m" in note


class TestIdentity:
    """Contract 8.3: what makes two builds one."""

    def test_equal(self, root: Root) -> None:
        base = root.request(build_args={"A": "1"})
        changes: tuple[dict[str, Any], ...] = (
            {"names": ("other",)},
            {"log_path": Path("/other")},
            {"labels": {}},
            {"model_name": "other"},
            {"timeout": 1.0},
        )
        for change in changes:
            assert build_key(replace(base, **change)) == build_key(base)

    def test_different(self, root: Root) -> None:
        keys = {build_key(root.request(build_args={"A": "1"}))}
        keys.add(build_key(root.request(build_args={"A": "2"})))
        keys.add(build_key(root.request(build_args={"A": "1"}, platform="linux/arm64")))
        keys.add(build_key(root.request("FROM y", build_args={"A": "1"})))
        (root.path / "ctx").mkdir()
        keys.add(build_key(root.request(build_args={"A": "1"}, model={"dockercontext": "ctx"})))
        root.dockerfile = "docker/m2.Dockerfile"
        keys.add(build_key(root.request(build_args={"A": "1"})))
        assert len(keys) == 6

    def test_of_secrets_only_the_names_count(self, root: Root) -> None:
        text = "ARG A_TOKEN\nARG B_TOKEN\nFROM x"
        first = build_key(root.request(text, {"A_TOKEN": "one"}))
        assert build_key(root.request(text, {"A_TOKEN": "two"})) == first
        assert build_key(root.request(text, {"B_TOKEN": "one"})) != first
