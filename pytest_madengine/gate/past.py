"""Which earlier values count as the history of a key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pytest_madengine.gate import words
from pytest_madengine.gate.references import Accepted
from pytest_madengine.gate.scale import median

#: At most so many values, and no older ones.
MOST: Final = 40
OLDEST: Final = timedelta(days=180)

# What a value was measured for.
FIRST: Final = "first"
CONFIRM: Final = "confirm"
REPEAT: Final = "repeat"
WARM_UP: Final = "warm-up"
BASELINE: Final = "a"
CANDIDATE: Final = "b"
#: Roles whose values are part of a history.
_COUNTED: Final = frozenset((FIRST, REPEAT, ""))


@dataclass(frozen=True)
class Earlier:
    """One stored value of a key.  ``finished`` is UTC without time zone."""

    session: str
    finished: datetime
    number: float
    role: str = FIRST
    #: The verdict that the gate gave it; empty without a gate.
    verdict: str = ""
    label: str = ""
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Past:
    """The history of a key: values oldest first, and what the newest of them ran on."""

    values: tuple[float, ...] = ()
    sessions: tuple[str, ...] = ()
    context: Mapping[str, str] = field(default_factory=dict)

    @property
    def last_session(self) -> str:
        """The newest session; empty without one."""
        return self.sessions[-1] if self.sessions else ""


def past_of(
    stored: Iterable[Earlier],
    *,
    session: str,
    now: datetime,
    labels: Sequence[str] = (),
    accepted: Accepted | None = None,
) -> Past:
    """One value per session, oldest first: its first run; with repeats their median.

    Left out are this session, runs judged as a regression, A/B and confirming runs, other labels, and what
    is older than 180 days.  An accepted change moves everything before it to the accepted level: the noise
    stays known, and the next run is judged at once.

    :param labels: only sessions with one of these; empty: all.
    """
    counted = sorted(
        (one for one in stored if _counts(one, session, labels, accepted) and now - one.finished <= OLDEST),
        key=lambda one: (one.finished, one.session),
    )
    by_session: dict[str, list[Earlier]] = {}
    for one in counted:
        by_session.setdefault(one.session, []).append(one)
    newest = list(by_session.values())[-MOST:]
    values = [median([one.number for one in runs]) for runs in newest]
    if accepted is not None:
        values = _moved(values, newest, accepted)
    context = newest[-1][-1].context if newest else {}
    return Past(tuple(values), tuple(runs[0].session for runs in newest), context)


def _counts(one: Earlier, session: str, labels: Sequence[str], accepted: Accepted | None) -> bool:
    if one.session == session or one.role not in _COUNTED or (labels and one.label not in labels):
        return False
    # What was judged a regression and then accepted is the first run of the new level.
    return one.verdict != words.REGRESSION or (accepted is not None and one.session == accepted.run)


def _moved(values: Sequence[float], sessions: Sequence[Sequence[Earlier]], accepted: Accepted) -> list[float]:
    moment = next((runs[0].finished for runs in sessions if runs[0].session == accepted.run), None)
    moment = moment or _moment(accepted.at)
    before = [
        value for value, runs in zip(values, sessions, strict=True) if moment and runs[0].finished < moment
    ]
    middle = median(before) if before else 0.0
    if not middle:
        return list(values)
    factor = accepted.value / middle
    return [value * factor for value in before] + list(values[len(before) :])


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=None)
    except ValueError:
        return None
