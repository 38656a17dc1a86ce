"""Real database servers on loopback: free ports, own data directories, stopped by pid."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import sqlalchemy

START_TIMEOUT = 60


def unavailable(reason: str) -> NoReturn:
    """Skips on a developer's machine; in CI a missing service is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """True when something listens on this port of the loopback interface."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """One server process with its own directory; it can be killed and started again on its port."""

    def __init__(self, user: str = "") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mad-db-"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.user = user if user and os.geteuid() == 0 else ""
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.directory, account.pw_uid, account.pw_gid)

    def argv(self) -> list[str]:
        raise NotImplementedError

    def prepare(self) -> None:
        """Makes the data directory."""

    def answers(self) -> bool:
        raise NotImplementedError

    def as_user(self, *argv: str) -> list[str]:
        """Database servers refuse root."""
        if not self.user:
            return list(argv)
        groups = ["--clear-groups", f"--reuid={self.user}", f"--regid={self.user}"]
        return ["setpriv", *groups, *argv]

    def run(self, *argv: str) -> None:
        done = subprocess.run(self.as_user(*argv), capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, f"{argv[0]}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        log = (self.directory / "server.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                self.as_user(*self.argv()), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        end = time.monotonic() + START_TIMEOUT
        while not self.answers():
            text = (self.directory / "server.log").read_text(errors="replace")[-2000:]
            assert self.process.poll() is None, f"the server ended: {text}"
            assert time.monotonic() < end, f"the server does not answer: {text}"
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash would: at once."""
        self._end(signal.SIGKILL)

    #: Ends the server in order, without waiting for its clients.
    stop_signal = signal.SIGTERM

    def stop(self) -> None:
        self._end(self.stop_signal)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(60)
        self.process = None

    def remove(self) -> None:
        self._end(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


class SqlServer(Server):
    """A server whose URL SQLAlchemy takes; every test gets a database of its own."""

    scheme = ""
    password = "p@ss/:#'x"

    def url(self, database: str, user: str = "mad", password: str | None = None) -> str:
        return sqlalchemy.URL.create(
            self.scheme,
            user,
            self.password if password is None else password,
            "127.0.0.1",
            self.port,
            database,
        ).render_as_string(hide_password=False)

    def admin(self, *statements: str) -> None:
        engine = sqlalchemy.create_engine(self.admin_url(), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def admin_url(self) -> str:
        raise NotImplementedError

    def answers(self) -> bool:
        if not is_open(self.port):
            return False
        try:
            self.admin("SELECT 1")
        except sqlalchemy.exc.OperationalError:
            return False
        return True

    def make_database(self, name: str) -> str:
        """The URL of a new, empty database."""
        raise NotImplementedError


class MariaDb(SqlServer):
    scheme = "mysql+pymysql"

    def __init__(self) -> None:
        if not Path("/usr/sbin/mariadbd").is_file():
            unavailable("there is no mariadbd: install the Debian package mariadb-server")
        super().__init__("mysql")

    def prepare(self) -> None:
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={self.directory}/data"]
        self.run(*install, "--auth-root-authentication-method=normal", "--skip-test-db")

    def argv(self) -> list[str]:
        directory = self.directory
        places = [f"--datadir={directory}/data", f"--socket={directory}/s", f"--pid-file={directory}/pid"]
        # The character set of the server is the old default: the tables must bring their own.
        return [
            "/usr/sbin/mariadbd",
            "--no-defaults",
            *places,
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
        ]

    def admin_url(self) -> str:
        return f"mysql+pymysql://root@/mysql?unix_socket={self.directory}/s"

    def make_database(self, name: str) -> str:
        escaped = self.password.replace("'", "''")
        self.admin(
            f"CREATE DATABASE {name} CHARACTER SET latin1",
            f"GRANT ALL ON {name}.* TO 'mad'@'127.0.0.1' IDENTIFIED BY '{escaped}'",
        )
        return self.url(name)


class PostgreSql(SqlServer):
    scheme = "postgresql+psycopg"
    stop_signal = signal.SIGINT

    def __init__(self) -> None:
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        if not versions:
            unavailable("there is no PostgreSQL: install the Debian package postgresql")
        self.bin = versions[-1].parent
        super().__init__("postgres")

    def prepare(self) -> None:
        self.run(
            f"{self.bin}/initdb", "-D", f"{self.directory}/data", "-U", "root", "-A", "trust", "-E", "UTF8"
        )
        # Over TCP only with the password.
        rules = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.directory / "data/pg_hba.conf").write_text(rules)

    def argv(self) -> list[str]:
        data, port = f"{self.directory}/data", str(self.port)
        # A killed process loses nothing that the kernel has; only a killed machine would.
        fast = ["-c", "fsync=off"]
        return [
            f"{self.bin}/postgres",
            "-D",
            data,
            "-k",
            str(self.directory),
            "-h",
            "127.0.0.1",
            "-p",
            port,
            *fast,
        ]

    def admin_url(self) -> str:
        return f"postgresql+psycopg://root@/postgres?host={self.directory}&port={self.port}"

    def make_database(self, name: str) -> str:
        role, escaped = f"mad_{name}", self.password.replace("'", "''")
        self.admin(f"CREATE ROLE {role} LOGIN PASSWORD '{escaped}'", f"CREATE DATABASE {name} OWNER {role}")
        return self.url(name, role)


class Mongo(Server):
    """SecantusDB: speaks the wire protocol of MongoDB."""

    def __init__(self, *options: str) -> None:
        self.executable = Path(sys.executable).parent / "secantusd-py"
        if not self.executable.is_file():
            unavailable("there is no secantusd-py: install SecantusDB")
        super().__init__()
        self.options = list(options)

    def argv(self) -> list[str]:
        places = ["--host", "127.0.0.1", "--port", str(self.port), "--storage-path", f"{self.directory}/data"]
        return [str(self.executable), *places, *self.options]

    def answers(self) -> bool:
        return is_open(self.port)

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/"


@contextlib.contextmanager
def running(make: Callable[[], Server]) -> Iterator[Server]:
    """The server, prepared and started; nothing of it stays."""
    server = make()
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.remove()
