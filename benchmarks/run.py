"""Runs the benchmarks and prints one table."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from benchmarks.common import Bar, BenchmarkError, Options, Report, machine
from benchmarks.containers import find_image

#: Modules with a function ``run(options) -> Report``; the second group needs a container engine.
_PURE = ("startup", "collection", "commands", "perfcsv", "metrics", "gate", "unstarted")
_ENGINE = ("overhead", "output")
#: Longer ones, by ``--all``.
_LONG = ("builds", "scheduling", "data_transfer", "history", "report")
_HEADER = ("benchmark", "plugin", "reference", "ratio", "figure", "bar", "verdict")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 unless a benchmark cannot be carried out."""
    options = _parser().parse_args(arguments)
    names = options.names or [*_PURE, *_ENGINE, *(_LONG if options.all else ())]
    facts, bars, notes, broken = machine(), [], [], []
    _say(options, " | ".join(f"{key} {value}" for key, value in facts.items()))
    with tempfile.TemporaryDirectory(prefix="mad-bench-") as scratch:
        for name in names:
            start = time.monotonic()
            try:
                report = _run(name, options, Path(scratch))
            except BenchmarkError as error:
                broken.append(f"{name}: {error}")
                _say(options, f"{name}: broken: {error}")
                continue
            bars += report.bars
            notes += report.notes
            _say(options, f"{name}: {time.monotonic() - start:.0f} s")
    if options.json:
        print(json.dumps(_document(facts, bars, notes, broken), indent=2))
    else:
        print()
        print(table(bars))
        print(*("", *notes, "") if notes else "", sep="\n")
        missed = sum(not bar.met for bar in bars)
        print(f"{len(bars) - missed} of {len(bars)} bars met" + (f", {missed} missed" if missed else ""))
    return 1 if broken else 0


def _run(name: str, options: argparse.Namespace, scratch: Path) -> Report:
    if name in _LONG and importlib.util.find_spec(f"benchmarks.{name}") is None:
        return Report()
    image = find_image(options.image) if name in _ENGINE else ""
    module = importlib.import_module(f"benchmarks.{name}")
    report: Report = module.run(Options(options.effort, image, scratch))
    return report


def table(bars: Sequence[Bar]) -> str:
    """The bars as a table that is also valid Markdown."""
    rows = [_HEADER, *(_row(bar) for bar in bars)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    details = [f"  {bar.name}: {bar.detail}" for bar in bars if bar.detail]
    return "\n".join([*lines, *([""] if details else []), *details])


def _row(bar: Bar) -> tuple[str, ...]:
    reference = "" if bar.reference is None else _number(bar.reference, bar.unit)
    ratio = "" if bar.ratio is None else f"{bar.ratio:.2f}"
    figure, limit = (_number(value, bar.figure_unit) for value in (bar.figure, bar.limit))
    verdict = "met" if bar.met else "MISSED"
    return (bar.name, _number(bar.measured, bar.unit), reference, ratio, figure, f"<= {limit}", verdict)


def _number(value: float, unit: str) -> str:
    digits = 0 if value == round(value) else 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f} {unit}".strip()


def _document(
    facts: dict[str, str], bars: list[Bar], notes: list[str], broken: list[str]
) -> dict[str, object]:
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": facts,
        "bars": [bar.as_dict() for bar in bars],
        "notes": notes,
        "broken": broken,
    }


def _say(options: argparse.Namespace, text: str) -> None:
    print(text, file=sys.stderr if options.json else sys.stdout, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*_PURE, *_ENGINE, *_LONG, []], help="only these")
    parser.add_argument("--all", action="store_true", help=f"also {' and '.join(_LONG)}")
    parser.add_argument("--effort", type=float, default=1.0, help="factor on repetitions, e.g. 0.3 or 4")
    parser.add_argument("--image", default="", help="local image with bash to start containers from")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
