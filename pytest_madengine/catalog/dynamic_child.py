"""What runs in the child process of one ``get_models_json.py`` (contract section 6).

This file is started by path in an isolated interpreter, below ``dynamic_guard.py``: it uses the standard
library only and imports nothing of this package.  Protocol: one JSON object per line.  The parent sends
``{"file", "path"}`` and later ``{"update": [positions]}`` on standard input; each is answered by
``{"entries": [...]}`` or ``{"error": {...}}``.  When the parent closes its end, or dies, the guard kills this
process and everything it started.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import math
import os
import queue
import resource
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import IO, Any

NO_LIST_MODELS = "Please define a list_models function in get_models_json.py."
WRONG_ELEMENT = (
    "Please use or subclass madengine.tools.discover_models.CustomModel to define your custom model."
)
#: Most models of one file, and most characters of their texts: a generator may never end.
MAX_MODELS = 100_000
MAX_TEXT = 64 << 20
#: Bytes of data one process of the file may have.
MAX_MEMORY = 8 << 30
#: No number in a file is longer; see ``jsontext``.
_MAX_NUMBER = 10**300
#: Characters of one line of a traceback.
_LINE = 500
#: Name of the user's file as a module; dataclasses and pickling look it up in ``sys.modules``.
USER_MODULE = "get_models_json"
SHIMS = ("madengine.tools.discover_models", "madengine.utils.discover_models")


@dataclass
class CustomModel:
    """A model of a ``get_models_json.py``; subclasses may add fields and override :meth:`update_model`."""

    name: str
    dockerfile: str = ""
    dockercontext: str = ""
    scripts: str = ""
    url: str = ""
    cred: str = ""
    owner: str = ""
    data: str = ""
    n_gpus: str = "-1"
    timeout: int = 7200
    training_precision: str = ""
    tags: list[str] = field(default_factory=list)
    args: str = ""
    multiple_results: str = ""
    skip_gpu_arch: str = ""

    def to_dict(self) -> dict[str, Any]:
        """All fields, also those of subclasses."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def update_model(self) -> None:
        """Called once when this model is selected; may change every field but ``name`` and ``tags``."""


class UserFileError(Exception):
    """A mistake of the user's file that is not an exception in it."""


class Models:
    """The user's file and the objects its ``list_models()`` returned."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._models: list[CustomModel] = []

    def list_models(self) -> list[dict[str, Any]]:
        """Executes the file; the fields of all models in the order of the file."""
        function = getattr(_execute(self.file), "list_models", None)
        if not callable(function):
            raise UserFileError(NO_LIST_MODELS)
        models: Iterable[object] = function()
        size = 0
        for model in models:
            if not isinstance(model, CustomModel):
                raise UserFileError(WRONG_ELEMENT)
            self._models.append(model)
            size += sum(len(value) for value in vars(model).values() if isinstance(value, str))
            if len(self._models) > MAX_MODELS:
                raise UserFileError(f"list_models() returned more than {MAX_MODELS:,} models")
            if size > MAX_TEXT:
                raise UserFileError(f"list_models() returned more than {MAX_TEXT:,} characters")
        return [_fields_of(model) for model in self._models]

    def update_models(self, positions: Iterable[int]) -> list[dict[str, Any]]:
        """Calls ``update_model()`` of the models at these positions; their fields afterwards."""
        return [self._updated(self._models[position]) for position in positions]

    def _updated(self, model: CustomModel) -> dict[str, Any]:
        name, tags = model.name, _copy(model.tags)
        model.update_model()
        if model.name != name:
            raise UserFileError(f"model {name!r}: update_model() must not change the name")
        if _copy(model.tags) != tags:
            raise UserFileError(f"model {name!r}: update_model() must not change the tags")
        return _fields_of(model)


def _copy(tags: object) -> object:
    return list(tags) if isinstance(tags, list | tuple) else tags


def _execute(file: str) -> ModuleType:
    """The user's file as a module, without leaving byte code beside it."""
    spec = importlib.util.spec_from_file_location(USER_MODULE, file)
    if spec is None or spec.loader is None:  # only for names that do not end in .py
        raise UserFileError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[USER_MODULE] = module
    spec.loader.exec_module(module)
    return module


def _fields_of(model: CustomModel) -> dict[str, Any]:
    found = {}
    for entry in fields(model):
        try:
            value = getattr(model, entry.name)
        except AttributeError:
            raise UserFileError(f"model {_name_of(model)}: field {entry.name!r} is not set") from None
        if not _is_json(value):
            kind = type(value).__name__
            raise UserFileError(f"model {_name_of(model)}: field {entry.name!r} is no JSON value but {kind}")
        found[entry.name] = value
    return found


def _name_of(model: CustomModel) -> str:
    return repr(getattr(model, "name", "?"))


def _is_json(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -_MAX_NUMBER < value < _MAX_NUMBER
    if isinstance(value, str):  # half of a surrogate pair is no text
        return value.isascii() or value == value.encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_is_json, value.values()))
    return False


def describe(error: BaseException, file: str) -> dict[str, Any]:
    """An exception for the parent: line in the user's file, one line of text, the traceback."""
    if isinstance(error, UserFileError):
        return {"text": str(error), "line": None, "traceback": []}
    own = __file__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != own]
    frames = [frame for frame in frames if not frame.filename.startswith("<frozen importlib")]
    lines = [frame.lineno for frame in frames if frame.filename == file]
    line = lines[-1] if lines else None
    # Unlike str(error) this never raises.
    text = f"{type(error).__name__}: {traceback.TracebackException.from_exception(error)}"
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error.msg}"
        line = error.lineno if error.filename == file else line
    printed = "".join([*traceback.format_list(frames), *traceback.format_exception_only(error)])
    return {
        "text": " ".join(text.split()).removesuffix(":")[:500],
        "line": line,
        "traceback": [line[:_LINE] for line in printed.splitlines()[-20:]],
    }


def install_shims(path: Iterable[str] = ()) -> None:
    """Makes ``CustomModel`` importable under both historic names, and ``path`` importable at the end.

    Other modules of an installed ``madengine`` stay importable; its package code is not executed.
    """
    sys.path.extend(entry for entry in path if entry not in sys.path)
    for full_name in SHIMS:
        package = ""
        for part in full_name.split("."):
            name = f"{package}.{part}" if package else part
            _shim(name, package)
            package = name
        vars(sys.modules[full_name])["CustomModel"] = CustomModel
    CustomModel.__module__ = SHIMS[0]


def _shim(name: str, package: str) -> None:
    if name in sys.modules:
        return
    module = ModuleType(name)
    if name not in SHIMS:
        parent = sys.modules.get(package)
        search = getattr(parent, "__path__", None) if package else None
        spec = importlib.machinery.PathFinder.find_spec(name, search)
        module.__path__ = list(spec.submodule_search_locations or ()) if spec is not None else []
    sys.modules[name] = module
    if package:
        setattr(sys.modules[package], name.rpartition(".")[2], module)


def answer(models: Models, request: dict[str, Any]) -> str:
    """The reply to one request as JSON.  Whatever the user's code raises becomes an error reply."""
    try:
        update = request.get("update")
        entries = models.list_models() if update is None else models.update_models(update)
        reply = json.dumps({"entries": entries})
        if len(reply) > MAX_TEXT:
            raise UserFileError(f"the models have more than {MAX_TEXT:,} characters")
        return reply
    except BaseException as error:  # noqa: BLE001 - also SystemExit; the parent reports it
        return json.dumps({"error": describe(error, models.file)})


def serve(requests: Callable[[], dict[str, Any]], replies: IO[str]) -> None:
    """Answers the first request (listing) and all that follow."""
    request = requests()
    # Packages beside the file last: they hide no library.
    install_shims([*request["path"], os.path.dirname(request["file"])])  # noqa: PTH120 - starts faster without pathlib
    models = Models(request["file"])
    while True:
        replies.write(answer(models, request) + "\n")
        replies.flush()
        request = requests()


def limit_memory() -> None:
    """A file that would take all memory of the host gets a ``MemoryError`` instead."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or soft > MAX_MEMORY:
        resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, hard))


def main(reply_fd: int) -> None:
    """Entry point of the child: requests come on standard input, of which the user's code sees nothing."""
    request_fd, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    limit_memory()
    for descriptor in (request_fd, reply_fd):
        os.set_inheritable(descriptor, False)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def watch() -> None:
        with os.fdopen(request_fd, encoding="utf-8") as stream:
            for line in stream:
                waiting.put(json.loads(line))

    threading.Thread(target=watch, daemon=True).start()
    with os.fdopen(reply_fd, "w", encoding="utf-8") as replies:
        serve(waiting.get, replies)


if __name__ == "__main__":
    main(int(sys.argv[1]))
