"""One SQL database: connections with limits, transactions with retries, errors in one line.

Import lazily: it imports SQLAlchemy.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from pytest_madengine.errors import ConfigError, HistoryError
from pytest_madengine.history.rowkeys import digest
from pytest_madengine.history.urls import DatabaseUrl
from pytest_madengine.secrets import Redactor, Secret, is_secret_name

_T = TypeVar("_T")

#: Drivers used when a URL names none.
_DRIVERS: Final = {
    "sqlite": "sqlite",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
#: The extra that installs the drivers of a dialect.
_EXTRAS: Final = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres"}
#: Seconds until a server must have accepted a connection.
_CONNECT_TIMEOUT: Final = 10
#: Seconds until a server must have answered one statement.
_STATEMENT_TIMEOUT: Final = 120
#: Seconds to wait for other writers of a SQLite file, or for the lock of a migration.
_LOCK_TIMEOUT: Final = 60
#: Any number, the same for all releases: PostgreSQL's advisory locks have numbers for names.
_LOCK_NUMBER: Final = 6_417_333
_LOCK_NAME: Final = "pytest-madengine"


class Database:
    """Transactions on the database of a URL.

    :param url: text, or what ``urls.database_url`` found (with its SSH tunnel, opened when first needed).
    :param retries: how often a transaction is repeated after a broken connection, a deadlock or a lost race.
    :param sleep: waits the given seconds before a repetition.
    :raises ConfigError: no URL, an unsupported database, a driver that is not installed.
    """

    def __init__(
        self, url: DatabaseUrl | str, *, retries: int = 2, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.target = DatabaseUrl(Secret(url)) if isinstance(url, str) else url
        self._url = _checked(self.target)
        self._retries = retries
        self._sleep = sleep
        self._exits = ExitStack()
        self._engine: Engine | None = None
        self._redactor = Redactor(filter(None, [self._url.password and str(self._url.password)]))
        self._redactor.add(*(str(value) for name, value in self._url.query.items() if is_secret_name(name)))

    @property
    def dialect(self) -> str:
        """``sqlite``, ``mysql``, ``mariadb`` or ``postgresql``."""
        return self._url.get_backend_name()

    def close(self) -> None:
        """Closes connections and tunnel; the next transaction opens them again."""
        self._engine = None
        self._exits.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def read(self, work: Callable[[Connection], _T], *, hint: str = "") -> _T:
        """Runs queries in one transaction.  :raises HistoryError: as :meth:`write`."""
        return self._repeat(lambda engine: _transaction(engine, work, write=False), hint)

    def write(self, work: Callable[[Connection], _T], *, hint: str = "") -> _T:
        """Runs changes in one transaction, all or nothing; ``work`` may be called again.

        :param hint: what to do later when the database does not answer, e.g. the command to repeat.
        :raises HistoryError: the database is down or refuses the change.
        """
        return self._repeat(lambda engine: _transaction(engine, work, write=True), hint)

    def exclusive(self, work: Callable[[Connection], _T], *, hint: str = "") -> _T:
        """Like :meth:`write`, while no other process is in here with this database."""
        return self._repeat(lambda engine: _locked_transaction(engine, work), hint)

    def _repeat(self, work: Callable[[Engine], _T], hint: str) -> _T:
        attempt = 0
        while True:
            try:
                return work(self._connected())
            except HistoryError as error:
                # Of tunnel or lock, which do not know what the caller wanted to say.
                detail = f"; {error.hint}" if hint and error.hint else ""
                raise HistoryError(error.message + detail, hint=hint or error.hint) from None
            except SQLAlchemyError as error:
                if attempt >= self._retries or not _is_passing(error):
                    raise self._error(error, hint) from None
                self._sleep(0.2 * 4**attempt)
                attempt += 1
                # Also a new tunnel: the old one may be what broke.
                self.close()

    def _connected(self) -> Engine:
        if self._engine is None:
            url = self._url
            if self.target.tunnel is not None:
                from pytest_madengine.history.tunnel import open_tunnel

                default = 5432 if self.dialect == "postgresql" else 3306
                remote = (url.host or "localhost", url.port or default)
                host, port = self._exits.enter_context(open_tunnel(self.target.tunnel, remote))
                url = url.set(host=host, port=port)
            self._engine = _engine(url)
            self._exits.callback(self._engine.dispose)
        return self._engine

    def _error(self, error: SQLAlchemyError, hint: str) -> HistoryError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        arguments = [str(argument) for argument in cause.args if isinstance(argument, int | str)]
        reason = " ".join(" ".join(arguments or [str(cause)]).split()) or type(cause).__name__
        return HistoryError(
            f"database {self.target.safe}: {self._redactor.text(reason)}",
            hint=hint or "check that the server runs, the URL, user and password",
        )


def _checked(target: DatabaseUrl) -> URL:
    try:
        url = make_url(target.url.reveal())
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"{target.source}: '{target.safe}' is no database URL",
            hint="use e.g. sqlite:///file.db or mysql+pymysql://user:password@host:3306/name; "
            "escape special characters of the password (@ is %40)",
        ) from None
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    backend = url.get_backend_name()
    if backend not in _DRIVERS:
        raise ConfigError(
            f"{target.source}: database '{backend}' is not supported",
            hint="use SQLite, MySQL, MariaDB or PostgreSQL",
        )
    try:
        url.get_dialect().import_dbapi()
    except (ImportError, NoSuchModuleError):
        extra = _EXTRAS.get(backend, "")
        raise ConfigError(
            f"{target.source}: the driver of {url.drivername} is not installed",
            hint=f"pip install 'pytest-madengine[{extra}]'" if extra else "use sqlite:///file.db",
        ) from None
    return url


def _engine(url: URL) -> Engine:
    backend = url.get_backend_name()
    arguments: dict[str, Any] = {}
    if backend == "sqlite":
        arguments["timeout"] = _LOCK_TIMEOUT
    elif url.drivername.endswith("+pymysql"):
        arguments["connect_timeout"] = _CONNECT_TIMEOUT
        arguments["read_timeout"] = arguments["write_timeout"] = _STATEMENT_TIMEOUT
    elif url.drivername.endswith("+psycopg"):
        arguments["connect_timeout"] = _CONNECT_TIMEOUT
        arguments["tcp_user_timeout"] = _STATEMENT_TIMEOUT * 1000
    # What the URL says itself wins.
    arguments = {name: value for name, value in arguments.items() if name not in url.query}
    engine = sqlalchemy.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=arguments)
    if backend == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif backend == "postgresql":
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver begins transactions late, and not at all before changes of tables; we say when.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # A writer that begins as a reader cannot wait for another writer: it fails at once.
    write = connection.get_execution_options().get("mad_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = '{_STATEMENT_TIMEOUT}s'")
    connection.commit()


def _transaction(engine: Engine, work: Callable[[Connection], _T], *, write: bool) -> _T:
    with engine.connect().execution_options(mad_write=write) as connection, connection.begin():
        return work(connection)


def _locked_transaction(engine: Engine, work: Callable[[Connection], _T]) -> _T:
    # In this order: the lock is taken before the transaction begins, and released after its end.
    with (
        engine.connect().execution_options(mad_write=True) as connection,
        _schema_lock(connection),
        connection.begin(),
    ):
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_NUMBER})
        return work(connection)


@contextlib.contextmanager
def _schema_lock(connection: Connection) -> Iterator[None]:
    """MariaDB ends the transaction at each change of a table: its lock belongs to the connection."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        yield
        return
    # Names of locks belong to the whole server.
    database = connection.engine.url.database or ""
    names = {"name": f"{_LOCK_NAME}-{digest(database)[:16]}", "seconds": _LOCK_TIMEOUT}
    taken = connection.execute(text("SELECT GET_LOCK(:name, :seconds)"), names).scalar()
    connection.commit()
    if taken != 1:
        raise HistoryError(f"another process has been writing to the database for {_LOCK_TIMEOUT} s")
    try:
        yield
    finally:
        if not connection.invalidated:
            connection.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": names["name"]})
            connection.commit()


def _is_passing(error: SQLAlchemyError) -> bool:
    """True of what another try may not meet: a broken connection, a deadlock, a lost race."""
    if isinstance(error, IntegrityError):
        return True
    return isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )
