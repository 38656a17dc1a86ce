"""Contract 12.1 and the error patterns of 12.2: what a run log contains."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_madengine.results.lines import read_line, trainer_value
from pytest_madengine.results.metrics import single_metrics
from pytest_madengine.results.patterns import (
    BENIGN,
    BENIGN_REGEXES,
    DEFAULT,
    PERFORMANCE_VALUE,
)
from pytest_madengine.results.scanner import LINE_LIMIT, REPEATS_KEPT, LogFindings, LogScanner
from pytest_madengine.util.text import SEQUENCE_BYTES, plain

#: The pattern as contract 12.1 prints it.
CONTRACT_PATTERN = re.compile(
    r"performance:[ \t]*(?P<value>[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+\.?[0-9]*|\.[0-9]+)"
    r"(?:[eE][+-]?[0-9]+)?)"
    r"(?=$|[ \t/%A-Za-z]|,(?![0-9]))"
    r"(?:,?[ \t]*/[A-Za-z]+(?![A-Za-z])[ \t]*,?(?=[ \t]*[^\s,])|,)?"
    r"[ \t]*(?P<unit>[^\s,]+)?"
)


def scan(log: str | bytes, **options: object) -> LogFindings:
    scanner = LogScanner(**options)  # type: ignore[arg-type]
    scanner.feed(log.encode() if isinstance(log, str) else log)
    return scanner.findings()


def values(log: str) -> list[tuple[str, str]]:
    metrics, _ = single_metrics(scan(log))
    return [(metric.value, metric.name) for metric in metrics]


VECTORS = [
    ("performance: 14164 samples_per_second", "14164", "samples_per_second"),
    ("performance: 1.5e3 sps", "1.5e3", "sps"),
    ("performance: 1E5 sps", "1E5", "sps"),
    ("performance: -3.2 sps", "-3.2", "sps"),
    ("performance: +3 sps", "+3", "sps"),
    ("performance: .5 sps", ".5", "sps"),
    ("performance: 5. sps", "5.", "sps"),
    ("performance: 0 context", "0", "context"),
    ("performance: 12", "12", ""),
    ("performance: 12\ndone", "12", ""),
    ("performance:5 x", "5", "x"),
    ("performance: 12ms", "12", "ms"),
    ("performance: 96 %", "96", "%"),
    ("performance: 96%", "96", "%"),
    ("my performance: 5 sps tail", "5", "sps"),
    ("performance: 5 tokens/s", "5", "tokens/s"),
    ("performance: 1.5e+3 GB/s", "1.5e+3", "GB/s"),
    ("performance: 14164/s samples_per_second", "14164", "samples_per_second"),
    ("performance: 123/s, metric", "123", "metric"),
    ("performance: 123, metric", "123", "metric"),
    ("performance: 123,/s metric", "123", "metric"),
    ("performance: 123, /s metric", "123", "metric"),
    ("performance: 5 /s", "5", "/s"),
    ("performance: 5/s", "5", "/s"),
    ("performance: 42 samples/sec,", "42", "samples/sec"),
    ("performance: 1,234.5 tok/s", "1234.5", "tok/s"),
    ("performance: 12,345,678 tok/s", "12345678", "tok/s"),
    ("performance: 1,234, tok/s", "1234", "tok/s"),
    ("'train_samples_per_second': 4.23", "4.23", "samples_per_second"),
]


@pytest.mark.parametrize(("log", "value", "metric"), VECTORS)
def test_performance_vectors(log: str, value: str, metric: str) -> None:
    """Contract 12.1."""
    assert values(log) == [(value, metric)]


@pytest.mark.parametrize(
    "line",
    [
        "performance: 12,3 s/s",
        "performance: 1,2345 x",
        "performance: 12:30 min",
        "performance: 1.2.3 x",
        "performance: |3 sps",
        "performance: nan sps",
        "performance: inf sps",
        "performance: N/A sps",
        "performance:",
    ],
)
def test_malformed_vectors(line: str) -> None:
    """Contract 12.1: no value, and the line is kept for the reason."""
    findings = scan(f"start\n{line}\nperformance: zzz\n")
    assert findings.performance == ()
    assert findings.malformed == line


@pytest.mark.parametrize(
    "line",
    [
        "+ echo 'performance: 123.4 samples_per_second'",
        "++ echo performance: 123.4 samples_per_second",
        "+ run.sh:3: printf 'performance: 123.4 %s\\n' samples_per_second",
        "+(run.sh:3): echo 'performance: 123.4 samples_per_second'",
        "+ line='performance: 123.4 samples_per_second'",
        'echo "performance: 123.4 samples_per_second"',
        "    print('performance: 123.4 samples_per_second')",
    ],
)
def test_a_command_that_prints_a_value_is_no_result(line: str) -> None:
    """faults 1.13: given ``set -x``, when commands are printed before their output, then one row."""
    assert values(f"{line}\nperformance: 123.4 samples_per_second\n") == [("123.4", "samples_per_second")]
    assert scan(line) == LogFindings(lines=1)


@pytest.mark.parametrize(
    "line",
    ["+ performance: 5 x", "+ model A performance: 5 x", "+5% performance: 5 x", "echo-net performance: 5 x"],
)
def test_an_output_that_looks_almost_like_a_command_is_a_result(line: str) -> None:
    assert values(line) == [("5", "x")]


@pytest.mark.parametrize("line", ["Performance: 3 sps", "performance 5 x"])
def test_no_match_vectors(line: str) -> None:
    """Contract 12.1."""
    assert scan(line) == LogFindings(lines=1)


def test_two_metrics_are_two_rows() -> None:
    """Defect 8: given two ``performance:`` lines with different metrics / when scanned / then two rows."""
    assert values("performance: 1 a\nperformance: 2 b\n") == [("1", "a"), ("2", "b")]


def test_repeated_metric_keeps_the_last_value() -> None:
    """Contract 12.1, and defect 56: several lines / rows in order of first appearance, with a warning."""
    metrics, warnings = single_metrics(scan("performance: 1 a\nperformance: 5 b\nperformance: 2 a\n"))
    assert [(metric.value, metric.name) for metric in metrics] == [("2", "a"), ("5", "b")]
    assert warnings == ("metric a printed 2 times, last value kept",)


def test_many_repeats_stay_bounded_and_counted() -> None:
    total = REPEATS_KEPT + 500
    findings = scan("".join(f"performance: {number} a\n" for number in range(total)))
    assert len(findings.performance) == REPEATS_KEPT
    metrics, warnings = single_metrics(findings)
    assert metrics[0].value == str(total - 1)
    assert warnings == (f"metric a printed {total} times, last value kept",)


def test_fallback_is_the_last_one_and_yields_to_performance() -> None:
    log = "{'train_samples_per_second': 1.5}\n'train_samples_per_second' = 2.5\n"
    assert scan(log).fallback == "2.5"
    assert values(log + "performance: 3 x\n") == [("3", "x")]
    assert scan(log + "performance: 3 x\n").fallback == ""
    assert values(log + "performance: bad\n") == [("2.5", "samples_per_second")]


def test_carriage_return_ends_a_line_and_colours_vanish() -> None:
    log = "10%\rperf\x1b[1mormance:\x1b[0m \x1b[32m5\x1b[0m tok/s\r\nend"
    assert values(log) == [("5", "tok/s")]
    assert scan(log).lines == 3


def test_several_matches_in_one_line() -> None:
    assert values("performance: 1 a, performance: 2 b") == [("1", "a"), ("2", "b")]


def test_invalid_utf8_is_replaced() -> None:
    assert scan(b"\xff\xfe performance: 5 x\xff\n").performance == (("5", "x\ufffd"),)


def test_only_the_start_of_an_endless_line_is_scanned() -> None:
    filler = "x" * LINE_LIMIT
    assert scan(f"performance: 1 a {filler} performance: 2 b\nperformance: 3 c").performance == (
        ("1", "a"),
        ("3", "c"),
    )
    scanner = LogScanner()
    for _ in range(4):
        scanner.feed(filler.encode())
    scanner.feed(b"performance: 2 b\nperformance: 3 c")
    assert scanner.findings() == LogFindings(performance=(("3", "c"),), lines=2)


@pytest.mark.parametrize(
    "line",
    [
        "performance: " + "1" * 60_000 + "|",
        "performance: 5 /s" + " " * 60_000 + ",",
        "performance: 5 /s" + " " * 30_000 + "," + " " * 30_000,
        "performance:" + " " * 60_000 + "x",
        "performance: 1" + ",111" * 15_000 + "|",
        "performance: 5 /" + "s" * 60_000,
        "train_samples_per_second" + "=" * 60_000,
    ],
    ids=range(7),
)
def test_hostile_lines_are_linear(line: str) -> None:
    """Would take minutes with nested repetitions that share characters."""
    assert scan(line).lines == 1


@given(
    st.lists(
        st.sampled_from(
            [
                "performance:",
                " ",
                "\t",
                "1",
                "23",
                "456",
                ",",
                ".",
                "e",
                "+",
                "-",
                "/",
                "s",
                "%",
                "|",
                "x",
                "é",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_pattern_is_the_contracts_pattern(text: str) -> None:
    """Contract 12.1: the linear pattern finds exactly what the printed one finds."""
    line = f"performance:{text}"
    ours = [(m.span(), m["value"], m["unit"]) for m in PERFORMANCE_VALUE.finditer(line)]
    theirs = [(m.span(), m["value"], m["unit"]) for m in CONTRACT_PATTERN.finditer(line)]
    assert ours == theirs


# ---------------------------------------------------------------------------------------------------------
# Error patterns


@pytest.mark.parametrize("pattern", DEFAULT)
def test_every_error_pattern(pattern: str) -> None:
    """Contract 12.2, and defect 47 (``failed (exitcode:``): given a pattern / found, with its line."""
    findings = scan(f"a\nb\nrank 3: {pattern} 1)\nFAILED\n")
    assert (findings.error_pattern, findings.error_line) == (pattern, 3)


def test_order_within_a_line_and_between_lines() -> None:
    assert scan("x FAILED ValueError:\nRuntimeError:\n").error_pattern == "ValueError:"


@pytest.mark.parametrize(
    "line",
    [
        *(f"{literal} RuntimeError: x" for literal in BENIGN),
        "E20240101 10:00 generateRocpd.cpp:5] FAILED",
        "W20240101 simple_timer.cpp FAILED",
        "W20240101 generateRocpd.cpp FAILED",
        "E20240101 x tool.cpp FAILED",
        "[rocprofv3] ValueError: x",
        "known FAILED check of ours",
    ],
)
def test_benign_lines(line: str) -> None:
    """Contract 12.2."""
    assert scan(f"{line}\n", benign=["check of ours", ""]).error_pattern == ""
    assert scan(f"{line}\nFAILED\n", benign=["check of ours"]).error_line == 2


@pytest.mark.parametrize("line", ["xE20240101 generateRocpd.cpp FAILED", "E2024 tool.cpp FAILED"])
def test_almost_benign_lines(line: str) -> None:
    assert scan(line).error_pattern == "FAILED"


def test_patterns_can_be_replaced_or_switched_off() -> None:
    """Contract 12.2: log_error_patterns, log_error_pattern_scan."""
    assert scan("FAILED\nkaputt\n", patterns=["kaputt", ""]).error_line == 2
    assert scan("FAILED\n", scan_errors=False).error_pattern == ""
    assert scan("FAILED\n", patterns=()).error_pattern == ""


@pytest.mark.parametrize(
    "end",
    [
        *("\x1b(B", "\x1b(B\x1b[m", "\x0f", "\x07", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x9b0m"),
        *("\x1bP1$r\x1b\\", "\u202e", "\u200b", "\ufeff", "\x00", "\x7f", "\ufffe", "\x1b", "\x1b["),
    ],
)
def test_a_unit_has_no_control_characters(end: str) -> None:
    """faults 1.14: given a unit followed by what ``tput sgr0`` prints and its like / then it is clean."""
    found = scan(f"\x1b[1mperformance: 5 tok/s{end}\nperformance: 6 tok/s\n").performance
    assert [(value, name.rstrip("[")) for value, name in found] == [("5", "tok/s"), ("6", "tok/s")]


@pytest.mark.parametrize("pattern", ["schön", "a\ufffdb", "half \ud800"])
def test_unusual_patterns(pattern: str) -> None:
    line = pattern.replace("\ufffd", "\udcff").encode(
        "utf-8", "surrogateescape" if "\ufffd" in pattern else "replace"
    )
    expected = "" if "\ud800" in pattern else pattern
    assert scan(b"1\n" + line, patterns=[pattern]).error_pattern == expected


# ---------------------------------------------------------------------------------------------------------
# The fast scanner against a naive one


def naive(log: bytes) -> LogFindings:
    """The findings of contract 12.1 and 12.2, line by line of a log that is there as a whole."""
    found: list[tuple[str, str]] = []
    malformed = pattern = fallback = doubtful = ambiguous_line = ""
    error_line = 0
    lines = log.splitlines()
    for number, raw in enumerate(lines, 1):
        line = plain(SEQUENCE_BYTES.sub(b"", raw).decode("utf-8", "replace"))
        # The reader of one line has tests of its own: what is glued to a number makes it ambiguous.
        values = read_line(line)
        found += values.found
        if values.ambiguous:
            ambiguous_line = ambiguous_line or line.strip()
        elif "performance:" in line and not values.found and not values.trace and not malformed:
            malformed = line.strip()
        value, ambiguous = trainer_value(line)
        if value or ambiguous:
            fallback, doubtful = value, line.strip() if ambiguous else ""
        benign = any(text in line for text in BENIGN) or any(regex.search(line) for regex in BENIGN_REGEXES)
        if not pattern and not benign:
            pattern = next((entry for entry in DEFAULT if entry in line), "")
            error_line = number if pattern else 0
    if found:
        fallback = doubtful = ""
    ambiguous_line = ambiguous_line or doubtful
    return LogFindings(
        tuple(found), malformed, pattern, error_line, fallback, len(lines), ambiguous=ambiguous_line
    )


PIECES = st.one_of(
    st.sampled_from(
        [
            b"performance:",
            b"performance: 12 tok/s",
            b"performance: 1,234.5 x",
            b"perf",
            b"ormance: 7 y",
            b"train_samples_per_second",
            b"': 4.5",
            b"'train_samples_per_second': 3.25}",
            b"\n",
            b"\n",
            b"\r",
            b"\r\n",
            b"\x1b[32m",
            b"\x1b(B",
            b"\x0f",
            b"\x1b]0;title\x07",
            b"\x1b]8;;",
            "\u202e\x9b1m".encode(),
            b"\x1b[",
            b"0m",
            b"\x1b[K",
            b" ",
            b"E20240101 ",
            b"tool.cpp",
            b"FutureWarning",
            b"Value",
            b"Error: ",
            b"CUDA out of memory",
            b"\xc3",
            b"\xa9",
            b"\xff",
            b"\x0b\x0c\x1c",
            "\u2028é".encode(),
        ]
    ),
    st.sampled_from([entry.encode() for entry in DEFAULT]),
    st.binary(max_size=6),
)


@example(b"performance:0m0m", [])
@given(st.lists(PIECES, max_size=40).map(b"".join), st.lists(st.integers(0, 400), max_size=12))
def test_chunked_scanner_equals_the_naive_one(log: bytes, cuts: list[int]) -> None:
    """Contract 12.1: given any log in any chunks / when scanned / then as if read line by line."""
    scanner = LogScanner()
    borders = sorted({0, len(log), *(min(cut, len(log)) for cut in cuts)})
    for start, end in itertools.pairwise(borders):
        scanner.feed(log[start:end])
        scanner.feed(b"")
    assert scanner.findings() == naive(log)


@given(st.lists(PIECES, max_size=25).map(b"".join))
def test_byte_by_byte(log: bytes) -> None:
    scanner = LogScanner()
    for index in range(len(log)):
        scanner.feed(log[index : index + 1])
    assert scanner.findings() == naive(log)
