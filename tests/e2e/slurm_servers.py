"""A Slurm cluster of virtual nodes on this host: munge, controller, one daemon per node."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_servers import unavailable
from registry_servers import free_port
from session_support import wait_until

#: Command -> Debian package.
PROGRAMS = {
    "sbatch": "slurm-wlm",
    "/usr/sbin/slurmctld": "slurm-wlm",
    "/usr/sbin/slurmd": "slurm-wlm",
    "/usr/sbin/munged": "munge",
}


@dataclass
class Slurm:
    """A running cluster; nodes are ``n1``, ``n2``, ..."""

    directory: Path
    nodes: int

    def environ(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.directory / "slurm.conf")}

    def command(self, *words: str) -> str:
        done = subprocess.run(
            words,
            env={**os.environ, **self.environ()},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout

    def state(self, job: str) -> str:
        """``COMPLETED``, ``FAILED``, ``CANCELLED``, ... of a job."""
        text = self.command("scontrol", "--oneliner", "show", "job", job)
        return next((word[9:] for word in text.split() if word.startswith("JobState=")), "")

    def await_end(self, job: str, limit: float = 120.0) -> str:
        """The state in which a job ended."""
        waiting = ("", "PENDING", "RUNNING", "COMPLETING", "CONFIGURING")

        def ended() -> str:
            state = self.state(job)
            return "" if state in waiting else state

        return wait_until(ended, f"the end of job {job}", limit)

    # ---- daemons ------------------------------------------------------------------------------------

    def start(self) -> None:
        place = self.directory
        for name in ("state", "spool", "log", "munge"):
            (place / name).mkdir()
        key = place / "munge/key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for path in (place / "munge", key):
            shutil.chown(path, "munge", "munge")
        munge = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", "/usr/sbin/munged", "--force"]
        names = {
            "key-file": "key",
            "socket": "sock",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        munge += [f"--{option}={place}/munge/{name}" for option, name in names.items()]
        subprocess.run(munge, check=True)
        self._configure()
        environ = {**os.environ, **self.environ()}
        configuration = place / "slurm.conf"
        subprocess.run(["/usr/sbin/slurmctld", "-f", configuration, "-c"], env=environ, check=True)
        for number in range(1, self.nodes + 1):
            command = ["/usr/sbin/slurmd", "-f", configuration, "-N", f"n{number}"]
            subprocess.run(command, env=environ, check=True)
        wait_until(self._all_idle, "all nodes are idle")

    def _all_idle(self) -> bool:
        return self.command("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * self.nodes

    def _configure(self) -> None:
        place = self.directory
        ports = [free_port() for _ in range(self.nodes + 1)]
        lines = [
            "ClusterName=test",
            "SlurmctldHost=localhost(127.0.0.1)",
            f"SlurmctldPort={ports[0]}",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            f"AuthInfo=socket={place}/munge/sock",
            f"StateSaveLocation={place}/state",
            f"SlurmdSpoolDir={place}/spool/%n",
            f"SlurmctldPidFile={place}/slurmctld.pid",
            f"SlurmdPidFile={place}/slurmd-%n.pid",
            f"SlurmctldLogFile={place}/log/slurmctld.log",
            f"SlurmdLogFile={place}/log/slurmd-%n.log",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "SwitchType=switch/none",
            "MpiDefault=none",
            "ReturnToService=2",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "DefMemPerCPU=100",
            "MinJobAge=3600",
            "KillWait=20",
            "SchedulerParameters=sched_interval=2",
            "AccountingStorageType=accounting_storage/none",
        ]
        lines += [
            f"NodeName=n{number} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=1000"
            for number, port in enumerate(ports[1:], 1)
        ]
        lines.append(f"PartitionName=main Nodes=n[1-{self.nodes}] Default=YES MaxTime=INFINITE State=UP")
        (place / "slurm.conf").write_text("\n".join(lines) + "\n")

    def stop(self) -> None:
        """Cancels what runs and ends the daemons of this cluster, by their ids."""
        jobs = self.command("squeue", "-h", "-o", "%i").split()
        if jobs:
            self.command("scancel", *jobs)
        for path in (
            *self.directory.glob("slurmd-*.pid"),
            self.directory / "slurmctld.pid",
            self.directory / "munge/pid",
        ):
            if path.is_file():
                subprocess.run(["kill", path.read_text().strip()], check=False, capture_output=True)


@contextmanager
def slurm_cluster(nodes: int = 2) -> Iterator[Slurm]:
    """A cluster that is gone afterwards; root only."""
    for program, package in PROGRAMS.items():
        if not shutil.which(program):
            unavailable(f"{program} is missing: install the Debian package {package}")
    if os.geteuid() != 0:
        unavailable("a Slurm cluster of this kind needs root")
    # The user munge must reach its files, and sockets need short paths.
    directory = Path(tempfile.mkdtemp(prefix="mad-slurm-"))
    directory.chmod(0o755)
    cluster = Slurm(directory, nodes)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)
