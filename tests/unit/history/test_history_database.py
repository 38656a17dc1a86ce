"""Connections, locks and errors, without a server; test_history_sql has real ones."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from pytest_madengine.errors import HistoryError
from pytest_madengine.history import database as module
from pytest_madengine.history.database import Database
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, Any]]:
    """Limits that a driver gets for a URL."""

    def made(url: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        real = sqlalchemy.create_engine

        def create(target: Any, **options: Any) -> Any:
            seen.update(options["connect_args"])
            return real(target, **options)

        monkeypatch.setattr(sqlalchemy, "create_engine", create)
        with Database(url) as database:
            module._engine(database._url).dispose()
        return seen

    return made


@pytest.mark.parametrize(
    ("url", "names"),
    [
        ("mysql://u@h/d", {"connect_timeout", "read_timeout", "write_timeout"}),
        ("mariadb://u@h/d?connect_timeout=1", {"read_timeout", "write_timeout"}),
        ("postgresql://u@h/d", {"connect_timeout", "tcp_user_timeout"}),
        ("postgres://u@h/d", {"connect_timeout", "tcp_user_timeout"}),
        ("sqlite://", {"timeout"}),
    ],
)
def test_no_server_is_waited_for_without_end(
    url: str, names: set[str], arguments: Callable[[str], dict[str, Any]]
) -> None:
    """Every network wait has a limit; what the URL says wins."""
    assert set(arguments(url)) == names


class Connection:
    """A connection that notes its statements."""

    def __init__(self, dialect: str, taken: int = 1) -> None:
        self.dialect = SimpleNamespace(name=dialect)
        self.engine = SimpleNamespace(url=SimpleNamespace(database="d"))
        self.invalidated = False
        self.statements: list[str] = []
        self.taken = taken

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        self.statements.append(str(statement).split("(")[0])
        return SimpleNamespace(scalar=lambda: self.taken)

    def commit(self) -> None:
        self.statements.append("COMMIT")


def test_the_lock_of_mysql() -> None:
    connection: Any = Connection("mysql")
    with module._schema_lock(connection):
        connection.statements.append("work")
    assert connection.statements == ["SELECT GET_LOCK", "COMMIT", "work", "SELECT RELEASE_LOCK", "COMMIT"]


def test_a_lost_connection_has_no_lock_to_release() -> None:
    connection: Any = Connection("mariadb")
    with module._schema_lock(connection):
        connection.invalidated = True
    assert connection.statements == ["SELECT GET_LOCK", "COMMIT"]


def test_a_lock_that_is_not_had() -> None:
    connection: Any = Connection("mysql", taken=0)
    with pytest.raises(HistoryError, match="another process"), module._schema_lock(connection):
        pytest.fail("there is no lock")


def test_the_limit_of_postgresql_is_set_per_connection() -> None:
    done: list[str] = []

    class Cursor:
        def __enter__(self) -> Cursor:
            return self

        def __exit__(self, *_: object) -> None:
            done.append("closed")

        def execute(self, statement: str) -> None:
            done.append(statement)

    module._prepare_postgresql(SimpleNamespace(cursor=Cursor, commit=lambda: done.append("commit")), None)
    assert done == ["SET statement_timeout = '120s'", "closed", "commit"]


@pytest.mark.parametrize(
    ("error", "tries"), [(OperationalError, 3), (IntegrityError, 3), (ProgrammingError, 1)]
)
def test_only_what_may_pass_is_tried_again(error: type[Exception], tries: int) -> None:
    calls: list[int] = []

    def work(_connection: object) -> None:
        calls.append(1)
        raise error("INSERT", {"password": "hush-hush"}, ValueError("x\ny"))  # type: ignore[call-arg]

    with (
        Database("sqlite://", sleep=lambda seconds: None) as database,
        pytest.raises(HistoryError, match=r"^database sqlite://: x y$") as raised,
    ):
        database.write(work)
    assert len(calls) == tries
    assert raised.value.__cause__ is None


def test_a_passing_failure_is_not_noticed() -> None:
    waits: list[float] = []

    def work(_connection: object) -> str:
        if len(waits) < 2:
            raise OperationalError("x", {}, ValueError("deadlock"))
        return "done"

    with Database("sqlite://", sleep=waits.append) as database:
        assert database.write(work) == "done"
    assert waits == [0.2, 0.8]


def test_passwords_of_errors_are_masked() -> None:
    """Contract 14.2: also those in parameters of the URL."""

    def work(_connection: object) -> None:
        raise ProgrammingError("x", {}, ValueError("user u password p@ssword and hush-hush"))

    with Database("sqlite://", retries=0) as database:
        database._redactor.add("p@ssword", "hush-hush")
        with pytest.raises(HistoryError, match=r"user u password \*\*\* and \*\*\*$"):
            database.read(work)
    with Database("postgresql://u:p%40ssword@h/d?sslpassword=hush-hush") as database:
        assert database._redactor.text("p@ssword hush-hush") == "*** ***"
        assert database.dialect == "postgresql"
