"""Checks of the scripts that models run.  They are read, never executed."""

from __future__ import annotations

import difflib
import posixpath
import re
from typing import Final

from pytest_madengine.catalog.checks import RootFiles
from pytest_madengine.catalog.model import Model
from pytest_madengine.lint import rules
from pytest_madengine.lint.documents import Collector, Entry, Texts
from pytest_madengine.lint.findings import Place
from pytest_madengine.lint.leaks import find_assignments, find_leaks
from pytest_madengine.lint.positions import Positions

#: What runs a script, by its suffix (contract section 3).
_INTERPRETERS: Final = {".sh": "bash", ".slurm": "bash", ".sbatch": "bash", ".py": "python3"}
_SHELLS: Final = frozenset({"sh", "bash", "dash", "ash"})
_SHEBANG: Final = re.compile(
    r"#![ \t]*(?:\S*/env(?:[ \t]+-\S+)*[ \t]+(?P<name>\S+)|(?:\S*/)?(?P<path>[^\s/]+))"
)
#: Files of a script directory that are looked into: of these types, so many, and so large.
_READ: Final = (".sh", ".slurm", ".sbatch", ".py", ".yaml", ".yml", ".json", ".toml", ".cfg", ".ini")
_MOST_FILES: Final = 60
_MOST_BYTES: Final = 256 * 1024
#: What a program that reports a result has in its text.
_REPORTS: Final = ("performance", "train_samples_per_second")


class ScriptChecks:
    """Each directory is read once, whatever the number of models that share it."""

    def __init__(self, files: RootFiles, texts: Texts, collector: Collector) -> None:
        self._files = files
        self._texts = texts
        self._collector = collector
        self._reports: dict[str, bool] = {}
        self._seen: set[str] = set()

    def check(self, entry: Entry) -> None:
        """The script of one model."""
        model = entry.model
        if not model.scripts:
            return
        script = self._script(entry)
        if script is None:
            return
        self._check_name(entry, script)
        directory = posixpath.dirname(script)
        if directory not in self._reports:
            self._reports[directory] = self._look_into(directory)
        self._check_file(script)
        silent = not self._reports[directory] and not self._speaks(script)
        if silent and not model.multiple_results and not model.url:
            text = f"neither {script} nor a file beside it mentions performance, and no multiple_results"
            hint = "a run without a result is a failure: print performance: <number> <unit>"
            self._collector.add(
                rules.NO_PERFORMANCE, entry.place("scripts"), text, hint=hint, model=model.name
            )

    def _script(self, entry: Entry) -> str | None:
        """Path of the file that runs; ``None`` (a finding) when there is none."""
        model = entry.model
        if self._files.is_file(model.scripts):
            return model.scripts
        place = entry.place("scripts")
        if self._files.is_directory(model.scripts):
            path = posixpath.normpath(f"{model.scripts}/run.sh")
            if self._files.is_file(path):
                return path
            text = f"directory {model.scripts} has no run.sh"
            self._collector.add(rules.NO_RUN_SH, place, text, model=model.name)
            return None
        text = f"script {model.scripts} does not exist"
        self._collector.add(rules.NO_SCRIPT, place, text, hint=self._near(model), model=model.name)
        return None

    def _near(self, model: Model) -> str:
        directory, slash, name = model.scripts.rpartition("/")
        close = difflib.get_close_matches(name, self._files.names(directory), n=1)
        return f"did you mean {directory}{slash}{close[0]}?" if close else ""

    def _check_name(self, entry: Entry, script: str) -> None:
        if posixpath.splitext(script)[1] not in _INTERPRETERS:
            text = f"script {script} is run with bash, whatever it is"
            hint = "name it *.sh, *.slurm, *.sbatch or *.py"
            self._collector.add(
                rules.ODD_SCRIPT, entry.place("scripts"), text, hint=hint, model=entry.model.name
            )

    def _look_into(self, directory: str) -> bool:
        """Reads the files beside scripts; true when one of them may print a result."""
        if not directory:  # the MAD root itself: what lies there belongs to nobody in particular
            return False
        names = [name for name in self._files.names(directory) if name.endswith(_READ)]
        # What is not looked into may print it.
        found = len(names) > _MOST_FILES or self._files.has_directories(directory)
        for name in names[:_MOST_FILES]:
            path = f"{directory}/{name}"
            if self._is_small(path):
                self._check_file(path)
                found = found or self._speaks(path)
            else:
                found = True
        return found

    def _is_small(self, path: str) -> bool:
        try:
            return (self._texts.root / path).stat().st_size <= _MOST_BYTES
        except OSError:  # gone since the directory was listed
            return False

    def _speaks(self, path: str) -> bool:
        text = self._texts.read(path)
        return text is None or any(word in text for word in _REPORTS)

    def _check_file(self, path: str) -> None:
        if path in self._seen:
            return
        self._seen.add(path)
        text = self._texts.read(path)
        if text is None:
            return
        positions = Positions(text)
        for leak in find_leaks(text):
            place = Place(path, *positions.at(leak.offset))
            self._collector.add(rules.SECRET, place, f"looks like {leak.what}", hint=_HINT)
        suffix = posixpath.splitext(path)[1]
        interpreter = _INTERPRETERS.get(suffix)
        if interpreter is None:
            return
        for leak in find_assignments(text, python=interpreter == "python3"):
            place = Place(path, *positions.at(leak.offset))
            self._collector.add(rules.SECRET_VALUE, place, f"{leak.what} is a literal", hint=_HINT)
        self._check_interpreter(path, text, interpreter)
        if interpreter == "bash" and "\r\n" in text:
            place = Place(path, text.count("\n", 0, text.index("\r\n")) + 1)
            hint = "convert it: sed -i 's/\\r$//' FILE"
            self._collector.add(rules.WINDOWS_LINES, place, "has Windows line ends", hint=hint)

    def _check_interpreter(self, path: str, text: str, interpreter: str) -> None:
        match = _SHEBANG.match(text)
        name = (match["name"] or match["path"]) if match else ""
        program = posixpath.basename(name)
        fits = (
            not program
            or (interpreter == "bash" and program in _SHELLS)
            or (interpreter == "python3" and program.startswith("python"))
        )
        if not fits:
            message = f"its first line names {program!r}, but it is run with {interpreter}"
            self._collector.add(rules.WRONG_SHEBANG, Place(path, 1, 1), message)


_HINT: Final = "take it out and revoke it; pass it by credential.json or as MAD_SECRETS_*"
