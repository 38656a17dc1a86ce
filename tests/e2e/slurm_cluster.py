"""A real Slurm on this host: one controller, nodes that are daemons of their own, no accounting."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from data_servers import unavailable
from registry_servers import free_port
from session_support import wait_until

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "setpriv")


@dataclass
class Cluster:
    """Directories and processes of a cluster; its nodes are ``n1``, ``n2``, ..."""

    directory: Path
    nodes: int = 2
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """What a user of this cluster has in the environment."""
        return {**os.environ, "SLURM_CONF": str(self.directory / "slurm.conf")}

    def start(self) -> Cluster:
        self._munge()
        ports = [free_port() for _ in range(self.nodes + 1)]
        (self.directory / "slurm.conf").write_text(self._conf(ports))
        for name in ("state", "log"):
            (self.directory / name).mkdir()
        conf = str(self.directory / "slurm.conf")
        self._daemon("slurmctld", "-D", "-c", "-f", conf)
        for number in range(1, self.nodes + 1):
            (self.directory / f"spool-n{number}").mkdir()
            self._daemon("slurmd", "-D", "-f", conf, "-N", f"n{number}")
        wait_until(self._idle, "all nodes of the cluster are idle")
        return self

    def stop(self) -> None:
        with suppress(OSError):
            subprocess.run(["scancel", "--user=root"], env=self.environ, capture_output=True, check=False)
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, *argv: str) -> str:
        """The output of a command of Slurm."""
        return subprocess.run(argv, env=self.environ, capture_output=True, text=True, check=True).stdout

    def _idle(self) -> bool:
        done = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%t"], env=self.environ, capture_output=True, text=True, check=False
        )
        return done.stdout.split().count("idle") == self.nodes

    def _munge(self) -> None:
        place = self.directory / "munge"
        place.mkdir(mode=0o755)
        key = place / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        shutil.chown(place, "munge", "munge")
        shutil.chown(key, "munge", "munge")
        user = ("setpriv", "--reuid=munge", "--regid=munge", "--clear-groups")
        names = ("key", "socket", "pid", "log", "seed")
        options = [f"--{name}{'' if name == 'socket' else '-file'}={place / name}" for name in names]
        self._daemon(*user, "munged", "--foreground", "--force", *options)
        wait_until((place / "socket").exists, "munge answers")

    def _daemon(self, *argv: str) -> None:
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        with (self.directory / "daemons.txt").open("ab") as log:
            self.processes.append(
                subprocess.Popen(argv, stdout=log, stderr=log, env={**self.environ, "PATH": path})
            )

    def _conf(self, ports: list[int]) -> str:
        place = self.directory
        nodes = "\n".join(
            f"NodeName=n{number} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000"
            for number, port in enumerate(ports[1:], 1)
        )
        values: Mapping[str, object] = {
            "ClusterName": "test",
            "SlurmctldHost": "localhost(127.0.0.1)",
            "SlurmctldPort": ports[0],
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={place}/munge/socket",
            "StateSaveLocation": place / "state",
            "SlurmdSpoolDir": place / "spool-%n",
            "SlurmctldPidFile": place / "slurmctld.pid",
            "SlurmdPidFile": place / "slurmd-%n.pid",
            "SlurmctldLogFile": place / "log/slurmctld",
            "SlurmdLogFile": place / "log/slurmd-%n",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "SwitchType": "switch/none",
            "MpiDefault": "none",
            "ReturnToService": 2,
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "DefMemPerCPU": 500,
            "MinJobAge": 3600,
            "KillWait": 5,
            "SchedulerParameters": "sched_interval=2",
            "AccountingStorageType": "accounting_storage/none",
        }
        lines = [f"{name}={value}" for name, value in values.items()]
        partition = f"PartitionName=main Nodes=n[1-{self.nodes}] Default=YES MaxTime=INFINITE State=UP"
        return "\n".join([*lines, nodes, partition, ""])


def require_slurm() -> None:
    """Skips where no cluster can be started; in CI that is a failure, never a silent skip."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        unavailable(f"{missing[0]} is not installed (Debian: slurm-wlm munge)")
    if os.getuid() != 0:
        unavailable("a cluster of one's own needs root")


@contextmanager
def running_cluster(nodes: int = 2) -> Iterator[Cluster]:
    """A cluster for the time of a block.

    Not below a directory of pytest: those are closed to others, and munged runs as another user.
    """
    with tempfile.TemporaryDirectory(prefix="mad-slurm-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        cluster = Cluster(directory, nodes)
        try:
            yield cluster.start()
        finally:
            cluster.stop()
