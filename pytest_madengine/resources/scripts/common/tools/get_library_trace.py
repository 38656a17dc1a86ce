# ruff: noqa: T201, UP006, UP032, UP035, UP045, PTH100, PTH118, PTH123  (must run with Python 3.6)
"""get_library_trace.py COMMAND...: runs a command and counts the library calls it prints (contract 11.4).

Runs inside the container with whatever python3 the image has (3.6 or later, standard library only).

* Which libraries: ``ROCBLAS_TRACE``, ``HIPBLASLT_TRACE``, ``MIOPEN_TRACE``, ``TENSILE_TRACE``, ``RCCL_TRACE``
  set to a true value, or ``TRACE_MODE``, a comma list of tool names (``trace`` is all of them).
* Lines of the libraries are counted and not printed; every other byte passes unchanged and at once.
* ``library_trace.csv`` is written beside the model directory (``../``): that is the MAD root of the
  container and the place where later models look for it.  ``OUTPUT_FILE`` names another file.
* The exit status is the command's; 128+n after signal n.
"""

import csv
import fcntl
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from typing import IO, Any, Dict, List, Optional, Pattern, Set, Tuple

COLUMNS = ("jobid", "created_date", "model", "library", "config", "calls")
DEFAULT_OUTPUT = os.path.join("..", "library_trace.csv")
TRACES = ("rocblas", "hipblaslt", "miopen", "tensile", "rccl")

#: Trace -> variables that make the library print its calls.
SETTINGS: Dict[str, Dict[str, str]] = {
    "rocblas": {"ROCBLAS_LAYER": "6"},
    # 32 is the log mask for hipblaslt-bench lines; without it the library prints nothing.
    "hipblaslt": {"HIPBLASLT_LOG_MASK": "32"},
    "miopen": {"MIOPEN_ENABLE_LOGGING_CMD": "1"},
    "tensile": {"TENSILE_DB": "0x8000"},
    "rccl": {"NCCL_DEBUG": "INFO", "RCCL_KERNEL_COLL_TRACE_ENABLE": "1", "NCCL_DEBUG_SUBSYS": "INIT,COLL"},
}

#: Trace, library column, text that a matching line must contain (cheap test), pattern, group of the config.
RULES: Tuple[Tuple[str, str, bytes, Pattern[bytes], int], ...] = (
    ("rocblas", "rocblas", b"/rocblas-bench ", re.compile(rb"./rocblas-bench .*$"), 0),
    ("rocblas", "rocblas_function", b"rocblas_function: ", re.compile(rb"^.*rocblas_function: .*$"), 0),
    ("hipblaslt", "hipblaslt", b"hipblaslt-bench ", re.compile(rb"hipblaslt-bench .*$"), 0),
    ("tensile", "tensile", b"Running kernel: ", re.compile(rb"^Running kernel: (.*)$"), 1),
    (
        "miopen",
        "miopen",
        b"MIOpen(HIP): Command [",
        re.compile(rb"MIOpen\(HIP\): Command \[.*\] (./bin/MIOpenDriver .*)$"),
        1,
    ),
)

#: A carriage return ends a line, too: progress bars share the output with the libraries.
LINE_END = re.compile(rb"\r\n|\n|\r")
#: Seconds after which the beginning of a line is passed on (progress bars, prompts).
PARTIAL_AFTER = 0.3
#: Seconds of silence after the command's end; a background process of it may keep its output open for ever.
DRAIN = 1.0
#: A longer line is passed on in pieces: memory stays bounded.
LONGEST_LINE = 1 << 20


def enabled_traces(environ: Dict[str, str]) -> Set[str]:
    """The traces that the environment asks for."""
    found = set()
    for trace in TRACES:
        if environ.get(trace.upper() + "_TRACE", "").strip().lower() not in ("", "0", "false", "no", "off"):
            found.add(trace)
    for part in environ.get("TRACE_MODE", "").split(","):
        name = part.strip().lower()
        name = name[: -len("_trace")] if name.endswith("_trace") else name
        if name == "trace":
            found.update(TRACES)
        elif name in TRACES:
            found.add(name)
        elif name:
            print("warning: unknown name in TRACE_MODE: " + part.strip(), file=sys.stderr)
    return found


class Calls:
    """Distinct calls in the order of their first appearance, with their numbers."""

    def __init__(self, traces: Set[str]) -> None:
        self.rules = [rule for rule in RULES if rule[0] in traces]
        self.counts: Dict[Tuple[str, bytes], int] = {}

    def take(self, line: bytes, rest: bool = False) -> bool:
        """Counts the line (without line end) when it is a call.

        :param rest: the beginning of the line was passed on already: it is not the start of a line.
        """
        for _, library, part, pattern, group in self.rules:
            if part in line and not (rest and library == "tensile"):
                match = pattern.search(line)
                if match is not None:
                    key = (library, match.group(group))
                    self.counts[key] = self.counts.get(key, 0) + 1
                    return True
        return False

    def write(self, path: str, environ: Dict[str, str]) -> None:
        """Adds the calls to the file, with a header when it is new."""
        job = environ.get("JENKINS_BUILD_NUMBER") or "0"
        model = environ.get("MAD_MODEL_NAME", "")
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        with open(path, "a", encoding="utf-8", errors="surrogateescape", newline="") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            writer = csv.writer(stream, lineterminator="\n")
            if os.fstat(stream.fileno()).st_size == 0:
                writer.writerow(COLUMNS)
            for (library, config), calls in self.counts.items():
                text = config.decode("utf-8", "surrogateescape")
                writer.writerow((job, now, model, library, text, calls))


class Stream:
    """One output of the command: lines that are calls are taken, the rest is passed on."""

    def __init__(self, source: "IO[bytes]", target: int, calls: Calls) -> None:
        self.source = source
        self.target: Optional[int] = target
        self.calls = calls
        self.partial = b""
        self.since = 0.0
        #: The beginning of the current line was passed on: its rest is, too.
        self.broken = False
        #: The last line was taken and ended with a carriage return: a line feed may still belong to it.
        self.half_end = False

    def read(self) -> bool:
        """Handles what is there; false at the end of the output."""
        data = os.read(self.source.fileno(), 1 << 16)
        if not data:
            self.finish()
            return False
        text = self.partial + data
        if self.half_end and text.startswith(b"\n"):
            text = text[1:]
        self.half_end = False
        passed = []
        start = 0
        for end in LINE_END.finditer(text, len(self.partial)):
            if self.calls.take(text[start : end.start()], self.broken):
                self.half_end = end.end() == len(text) and end.group() == b"\r"
            else:
                passed.append(text[start : end.end()])
            self.broken = False
            start = end.end()
        self.emit(b"".join(passed))
        if start > 0 or not self.partial:
            self.since = time.monotonic()
        self.partial = text[start:]
        if len(self.partial) > LONGEST_LINE:
            self.flush()
        return True

    def idle(self) -> None:
        """Passes on the beginning of a line that waits for too long."""
        if self.partial and time.monotonic() - self.since >= PARTIAL_AFTER and not self.may_be_call():
            self.flush()

    def may_be_call(self) -> bool:
        """True when the waiting beginning already looks like a call: it is held until its line ends."""
        return any(part in self.partial for _, _, part, _, _ in self.calls.rules)

    def flush(self) -> None:
        """Passes on the waiting beginning; from here on this line is not a call."""
        self.emit(self.partial)
        self.partial = b""
        self.broken = True

    def finish(self) -> None:
        """The end of the output: a last line without line end."""
        if self.partial and not self.calls.take(self.partial, self.broken):
            self.emit(self.partial)
        self.partial = b""

    def emit(self, data: bytes) -> None:
        """Writes all of the data; when the reader has gone the command's calls are still counted."""
        view = memoryview(data)
        while view and self.target is not None:
            try:
                view = view[os.write(self.target, view) :]
            except BrokenPipeError:
                self.target = None


def same_file(first: int, second: int) -> bool:
    """True when two descriptors lead to the same place."""
    try:
        return os.path.samestat(os.fstat(first), os.fstat(second))
    except OSError:
        return False


def start(command: List[str], environ: Dict[str, str]) -> "subprocess.Popen[bytes]":
    """Starts the command.  One pipe for both outputs when both end in the same place: their order is kept."""
    merged = same_file(1, 2)
    return subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merged else subprocess.PIPE,
        bufsize=0,
    )


def forward_signals(process: "subprocess.Popen[bytes]") -> None:
    """Hands the signals that end us to the command; we end after it, with its calls written."""

    def forward(number: int, _frame: Any) -> None:
        process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)


def follow(process: "subprocess.Popen[bytes]", calls: Calls) -> int:
    """Passes the output on until the command has ended; its exit status in the shell's way."""
    selector = selectors.DefaultSelector()
    streams: List[Stream] = []
    for source, target in ((process.stdout, 1), (process.stderr, 2)):
        if source is not None:
            stream = Stream(source, target, calls)
            streams.append(stream)
            selector.register(source, selectors.EVENT_READ, stream)
    ended: Optional[float] = None
    while selector.get_map():
        events = selector.select(timeout=0.1)
        for key, _ in events:
            if not key.data.read():
                selector.unregister(key.fileobj)
        for stream in streams:
            stream.idle()
        if process.poll() is not None:
            now = time.monotonic()
            ended = now if ended is None or events else ended
            if now - ended > DRAIN:
                break
    for stream in streams:
        stream.finish()
    status = process.wait()
    return 128 - status if status < 0 else status


def main(command: List[str]) -> int:
    """Runs the command; see the text of this file."""
    if not command:
        print("get_library_trace.py: no command to trace", file=sys.stderr)
        return 2
    environ = dict(os.environ)
    traces = enabled_traces(environ)
    if not traces:
        names = ", ".join(trace.upper() + "_TRACE" for trace in TRACES)
        print("warning: nothing to trace: none of {}, TRACE_MODE is set".format(names), file=sys.stderr)
    calls = Calls(traces)
    output = os.path.abspath(environ.get("OUTPUT_FILE") or DEFAULT_OUTPUT)
    for trace in sorted(traces):
        environ.update(SETTINGS[trace])
    try:
        process = start(command, environ)
    except OSError as error:
        print("get_library_trace.py: {}: {}".format(command[0], error.strerror), file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    forward_signals(process)
    status = follow(process, calls)
    if calls.rules:
        try:
            calls.write(output, environ)
        except OSError as error:
            print("warning: library trace is lost: {}: {}".format(output, error.strerror), file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
