"""``--mad-resume``: which items of an earlier session need not run again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_madengine.errors import ConfigError
from pytest_madengine.results.journal import Journal
from pytest_madengine.results.record import Outcome, RunRecord


def successes(results_dir: Path, session: str, own: str = "") -> tuple[Mapping[str, RunRecord], list[str]]:
    """Records with SUCCESS of a session, by item id, from its journal: complete also after a SIGKILL.

    A session that was itself resumed counts with those it resumed from.

    :param session: id of a session, or ``last`` for the newest one that has a journal.
    :param own: id of the running session, which is never the last one.
    :return: the records, and a note for each journal that holds something else.
    :raises ConfigError: there is no such session.
    """
    journals = {path.parent.name: path for path in results_dir.glob("*/journal.jsonl")}
    journals.pop(own, None)
    name = max(journals, default="") if session == "last" else session
    if name not in journals:
        raise ConfigError(
            f"--mad-resume: no session {'to resume' if session == 'last' else session} in {results_dir}",
            hint="sessions: " + (", ".join(sorted(journals)[-5:]) or "none"),
        )
    found: dict[str, RunRecord] = {}
    notes: list[str] = []
    wanted, seen = [name], set()
    while wanted:
        current = wanted.pop()
        seen.add(current)
        journal = Journal(journals[current])
        for record in journal.records():
            if record.outcome is Outcome.SUCCESS:
                found.setdefault(record.item_id, record)
            elif record.resumed_from in journals and record.resumed_from not in seen:
                wanted.append(record.resumed_from)
        if journal.left_out:
            notes.append(f"{journals[current]}: {journal.left_out} lines that hold no record are left out")
    return found, notes
