"""Questions to the network that must end in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from pytest_madengine.data.provider import Unusable

_T = TypeVar("_T")


def within(seconds: float, complaint: str, action: Callable[[], _T]) -> _T:
    """The result of an action that has so many seconds.

    Time limits of libraries do not cover name resolution, nor the sum of their steps.  An action that
    is late goes on in a thread that ends with its own limits, or with the process.

    :raises Unusable: with the complaint, when the time is over.
    """
    result: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(action())
        except BaseException as error:  # noqa: BLE001 - raised again below, in the thread that asked
            failure.append(error)

    thread = threading.Thread(target=run, name="mad-data-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not result:
        raise Unusable(f"{complaint} within {seconds:g} seconds")
    return result[0]
