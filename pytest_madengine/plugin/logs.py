"""Log records of this process have no secrets, whoever makes them and whoever shows them.

Clients of the engine, of registries, of S3 and of SSH write requests and headers into debug logs.  pytest
shows these with ``--log-cli-level``, keeps them with ``--log-file`` and puts them into reports.  So a record
is cleaned where it is made: no handler ever has another one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from pytest_madengine.secrets import Redactor

_FORMATTER: Final = logging.Formatter()


def redact_logs(redactor: Redactor) -> Callable[[], None]:
    """Cleans every log record from now on, also of secrets that the redactor learns later.

    :returns: ends it.
    """
    before = logging.getLogRecordFactory()
    active = True

    def make(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        if active:
            _clean(record, redactor)
        return record

    def end() -> None:
        nonlocal active
        active = False
        # Somebody who wrapped ours meanwhile keeps a wrapper around what was there before.
        if logging.getLogRecordFactory() is make:
            logging.setLogRecordFactory(before)

    logging.setLogRecordFactory(make)
    return end


def _clean(record: logging.LogRecord, redactor: Redactor) -> None:
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - what is wrong with the call is said in its place
        # Handlers would print the call with its arguments to standard error.
        message = f"{record.msg!s} {record.args!r}: cannot be formatted: {type(error).__name__}: {error}"
        record.msg, record.args = message, ()
    clean = redactor.text(message)
    if clean != message:
        record.msg, record.args = clean, ()
    if record.exc_info and record.exc_info[0] is not None:
        trace = _FORMATTER.formatException(record.exc_info)
        clean = redactor.text(trace)
        if clean != trace:
            # Formatters show this text; the exception itself has the secret.
            record.exc_text, record.exc_info = clean, None
    if record.stack_info:
        record.stack_info = redactor.text(record.stack_info)
