"""S3 providers against a real server (contract 13.3; done-when 3 of the data issue)."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from data_servers import ACCESS_KEY, SECRET_KEY, S3Server, cutting_proxy, s3_server
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.data.provider import Timing
from pytest_madengine.data.service import DataService
from pytest_madengine.errors import DataError
from pytest_madengine.secrets import Redactor, Secret
from pytest_madengine.settings import Settings

pytestmark = [pytest.mark.e2e, pytest.mark.parallel]
MODEL = Model(name="m", dockerfile="docker/m", scripts="scripts/m/run.sh", data="d1")
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path) -> str:
    """A new bucket with nested small files and one of several parts."""
    name = f"b{hashlib.sha1(str(tmp_path).encode()).hexdigest()[:12]}"
    files = {f"train/{index % 7}/{index}.bin": os.urandom(1000 + index) for index in range(40)}
    files |= {"train/empty": b"", "train/ü ñ.txt": b"text", "train/big": os.urandom(40 * MIB + 17)}
    files["trainer/other"] = b"not below train/"
    for path, content in files.items():
        target = server.root / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return name


@pytest.fixture
def environ() -> dict[str, str]:
    login = {"USERNAME": ACCESS_KEY, "PASSWORD": SECRET_KEY}
    return {"MAD_MINIO": json.dumps(login), "MAD_AWS_S3": json.dumps(login)}


@pytest.fixture
def make(tmp_path: Path, environ: dict[str, str]) -> Callable[..., DataService]:
    """A service for the providers of ``d1``."""

    def service(providers: dict[str, Any], **settings: Any) -> DataService:
        root = tmp_path / "root"
        root.mkdir(exist_ok=True)
        (root / "data.json").write_text(json.dumps({"d1": providers}))
        values = {"root": root, "results_dir": tmp_path / "results", "output": root / "perf.csv"}
        merged = Settings(**{**values, "environ": environ, **settings})
        timing = Timing(sleep=lambda seconds: None)
        return DataService(merged, Context({}), Redactor(), timing=timing)

    return service


def content(directory: Path) -> dict[str, str]:
    """Digest of every file below a directory."""
    return {
        path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def minio(url: str, bucket: str, prefix: str = "train", **further: Any) -> dict[str, Any]:
    return {"minio": {"path": f"s3://{bucket}/{prefix}", "endpoint_url": url, **further}}


@pytest.mark.parametrize("provider", ["minio", "aws"])
def test_a_prefix_arrives_whole_and_goes_away_without_a_mirror(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path, provider: str
) -> None:
    """Contract 13.3: everything below the prefix, only that; a private download is removed."""
    entry = minio(server.url, bucket)["minio"]
    service = make({provider: entry})
    (mount,) = service.provide(MODEL, tmp_path / "artifacts", {})
    assert (mount.provider, mount.home, mount.read_only) == (provider, "/data_dlm_0", True)
    assert mount.size == "41M"
    assert mount.duration > 0
    assert content(Path(mount.source)) == content(server.root / bucket / "train")
    assert not service.notes(MODEL)
    service.release([mount])
    assert not Path(mount.source).exists()
    service.close()
    assert not list((tmp_path / "results" / ".data").iterdir())


def test_a_single_object(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path
) -> None:
    """Contract 13.3: `path` may name one object; it lies in the mounted directory."""
    service = make(minio(server.url, bucket, "train/big"))
    (mount,) = service.provide(MODEL, tmp_path, {})
    assert list(content(Path(mount.source))) == ["big"]
    service.close()


def test_a_mirror_transfers_only_what_changed(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path
) -> None:
    """Contract 13.3: later runs transfer changed files only; what vanished there vanishes here; what
    somebody else put into the mirror stays."""
    mirror = tmp_path / "new" / "mirror"
    with cutting_proxy(server.port) as proxy:
        providers = minio(f"http://127.0.0.1:{proxy.port}", bucket, mirrorlocal=str(mirror), readwrite="true")
        (mount,) = make(providers).provide(MODEL, tmp_path, {})
        assert (mount.source, mount.read_only) == (str(mirror / "d1"), False)
        assert proxy.received > 40 * MIB
        (mirror / "d1" / "mine").write_text("own file")
        before, proxy.received = (mirror / "d1/train").exists(), 0
        make(providers).provide(MODEL, tmp_path, {})
        assert proxy.received < MIB  # a listing
        (server.root / bucket / "train/0/0.bin").write_bytes(b"changed")
        (server.root / bucket / "train/1/1.bin").unlink()
        (mirror / "d1" / "2" / "2.bin").write_bytes(b"spoilt by a run")
        make(providers).provide(MODEL, tmp_path, {})
        assert proxy.received < MIB
    assert not before
    found = content(mirror / "d1")
    assert found.pop("mine")
    assert found == content(server.root / bucket / "train")


def test_files_put_there_by_another_tool_are_adopted(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path
) -> None:
    """A mirror of the predecessor is not transferred again where the checksums agree."""
    mirror = tmp_path / "mirror"
    (mirror / "d1").mkdir(parents=True)
    (mirror / "d1" / "big").write_bytes((server.root / bucket / "train/big").read_bytes())
    with cutting_proxy(server.port) as proxy:
        service = make(minio(f"http://127.0.0.1:{proxy.port}", bucket), force_mirror_local=mirror)
        service.provide(MODEL, tmp_path, {})
        assert proxy.received < MIB
    assert content(mirror / "d1") == content(server.root / bucket / "train")


def test_a_reset_connection_is_taken_up_where_it_broke_off(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path
) -> None:
    """Done-when 3: connections reset in the middle; the transfer succeeds and reads little twice."""
    with cutting_proxy(server.port, after=5 * MIB, cuts=2) as proxy:
        service = make(minio(f"http://127.0.0.1:{proxy.port}", bucket))
        (mount,) = service.provide(MODEL, tmp_path, {})
        assert proxy.reset == 2
        assert proxy.received < 46 * MIB
    assert content(Path(mount.source)) == content(server.root / bucket / "train")
    service.close()


def test_a_server_that_always_breaks_off_leaves_nothing_half_written(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path
) -> None:
    """Done-when 3: after three attempts a clear error; a later session goes on with the finished parts."""
    mirror = tmp_path / "mirror"
    with cutting_proxy(server.port, after=200_000, cuts=1000) as proxy:
        broken = make(minio(f"http://127.0.0.1:{proxy.port}", bucket, mirrorlocal=str(mirror)))
        with pytest.raises(DataError, match=r"'d1'.*minio: train/big at .*\(tried 3 times\)") as caught:
            broken.provide(MODEL, tmp_path, {})
    assert "\n" not in caught.value.message
    assert "big" not in content(mirror / "d1")
    with cutting_proxy(server.port) as proxy:
        whole = make(minio(f"http://127.0.0.1:{proxy.port}", bucket, mirrorlocal=str(mirror)))
        whole.provide(MODEL, tmp_path, {})
    assert content(mirror / "d1") == content(server.root / bucket / "train")


def test_a_checksum_mismatch(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path
) -> None:
    """Done-when 3: a flipped bit is noticed and read again; one that comes back is a clear error, and the
    file is not there."""
    with cutting_proxy(server.port, after=3 * MIB, flips=1) as proxy:
        service = make(minio(f"http://127.0.0.1:{proxy.port}", bucket, "train/big"))
        (mount,) = service.provide(MODEL, tmp_path, {})
        assert proxy.flips == 0
        assert proxy.received > 60 * MIB
    assert content(Path(mount.source))["big"] == content(server.root / bucket / "train")["big"]
    service.close()
    mirror = tmp_path / "mirror"
    with cutting_proxy(server.port, after=3 * MIB, flips=1000) as proxy:
        service = make(
            minio(f"http://127.0.0.1:{proxy.port}", bucket, "train/big"), force_mirror_local=mirror
        )
        with pytest.raises(
            DataError, match=r"train/big: md5 of what arrived is \w+, it must be \w+ \(tried 3"
        ):
            service.provide(MODEL, tmp_path, {})
    assert content(mirror / "d1") == {}


def test_wrong_keys(
    server: S3Server, bucket: str, make: Callable[..., DataService], environ: dict[str, str], tmp_path: Path
) -> None:
    """Done-when 3, contract 13.2: a wrong password fails minio's transfer, makes aws unusable, and
    neither the password nor the request is shown."""
    wrong = {"USERNAME": ACCESS_KEY, "PASSWORD": "wrong-planted-secret"}
    environ["MAD_MINIO"] = environ["MAD_AWS_S3"] = json.dumps(wrong)
    with pytest.raises(DataError, match="the secret key is wrong") as caught:
        make(minio(server.url, bucket)).provide(MODEL, tmp_path, {})
    assert "wrong-planted-secret" not in f"{caught.value.message}{caught.value.hint}"
    assert "MAD_MINIO" in caught.value.hint
    service = make({"aws": minio(server.url, bucket)["minio"]})
    assert service.provide(MODEL, tmp_path, {}) == ()
    assert "aws: not usable" in service.notes(MODEL)[0]


def test_the_credential_file_and_the_variable(
    server: S3Server, bucket: str, make: Callable[..., DataService], environ: dict[str, str], tmp_path: Path
) -> None:
    """Contract 13.4: the credential file serves when the variable is not set; the variable wins."""
    good = {"username": ACCESS_KEY, "password": Secret(SECRET_KEY), "minio_endpoint": server.url}
    bad = {"USERNAME": ACCESS_KEY, "PASSWORD": Secret("no")}
    providers = {"minio": f"s3://{bucket}/train/0"}
    del environ["MAD_MINIO"]
    service = make(providers)
    assert service.provide(MODEL, tmp_path, {"MAD_MINIO": good})
    service.close()
    environ["MAD_MINIO"] = json.dumps(
        {"USERNAME": ACCESS_KEY, "PASSWORD": SECRET_KEY, "AWS_ENDPOINT_URL_S3": server.url}
    )
    service = make(providers)
    assert service.provide(MODEL, tmp_path, {"MAD_MINIO": bad})
    service.close()


@pytest.mark.parametrize("path", ["train/absent", "nothing"])
def test_missing_objects(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path, path: str
) -> None:
    """Done-when 3: an object that is not there is named."""
    with pytest.raises(DataError, match=rf"{path} at http://127.0.0.1:\d+: there is no such"):
        make(minio(server.url, bucket, path)).provide(MODEL, tmp_path, {})


def test_an_endpoint_that_does_not_answer_is_not_usable(
    server: S3Server, bucket: str, make: Callable[..., DataService], tmp_path: Path
) -> None:
    """Contract 13.2: the next provider is taken, with the reason of the first one."""
    dead = minio("http://127.0.0.1:1", bucket)
    service = make({"aws": minio(server.url, bucket)["minio"], **dead})
    (mount,) = service.provide(MODEL, tmp_path, {})
    assert mount.provider == "aws"
    assert "minio: not usable: http://127.0.0.1:1" in service.notes(MODEL)[0]
    service.close()


def test_a_full_disk(
    server: S3Server,
    bucket: str,
    make: Callable[..., DataService],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Done-when 3: too little space is found before the first byte is transferred; a disk that fills up
    meanwhile is a clear error, and what was half-written is removed."""
    mirror = tmp_path / "small"
    mirror.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", mirror],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")
    try:
        with pytest.raises(DataError, match=r"has 8\.0M free, 41M are needed"):
            make(minio(server.url, bucket), force_mirror_local=mirror).provide(MODEL, tmp_path, {})
        roomy = os.statvfs("/")
        monkeypatch.setattr(os, "statvfs", lambda path: roomy)
        with pytest.raises(DataError, match="No space left on device"):
            make(minio(server.url, bucket), force_mirror_local=mirror).provide(MODEL, tmp_path, {})
        assert not list(mirror.rglob("*.partial"))
        assert "big" not in content(mirror / "d1")
    finally:
        subprocess.run(["umount", mirror], check=True)


TWO = """
import json, sys
from pathlib import Path
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.data.service import DataService
from pytest_madengine.secrets import Redactor
from pytest_madengine.settings import Settings

root, environ = Path(sys.argv[1]), json.loads(sys.stdin.read())
settings = Settings(root, root / "results", root / "perf.csv", environ=environ)
model = Model(name="m", dockerfile="", scripts="", data="d1")
print(DataService(settings, Context({}), Redactor()).provide(model, root, {})[0].source)
"""


def test_two_processes_want_the_same_data_at_once(
    server: S3Server,
    bucket: str,
    make: Callable[..., DataService],
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Done-when 3: one of them transfers, the other waits and finds everything there."""
    with cutting_proxy(server.port) as proxy:
        make(minio(f"http://127.0.0.1:{proxy.port}", bucket, mirrorlocal=str(tmp_path / "mirror")))
        command = [sys.executable, "-c", TWO, tmp_path / "root"]
        both = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for process in both:
            assert process.stdin is not None
            process.stdin.write(json.dumps(environ))
            process.stdin.close()
        for process in both:
            assert process.stdout is not None
            assert process.stdout.read().strip() == str(tmp_path / "mirror/d1")
            process.stdout.close()
            assert process.wait(60) == 0
        assert proxy.received < 42 * MIB
    assert content(tmp_path / "mirror/d1") == content(server.root / bucket / "train")
