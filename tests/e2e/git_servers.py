"""Real git servers on the loopback interface: by http with a password, by ssh with a key."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

#: What git takes as an identity, and nothing of the user's configuration.
_GIT_ENVIRON: Final = {
    **{f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "HOME": "/nonexistent",
}


def git(directory: Path, *arguments: str) -> str:
    """Runs git in a directory and returns what it prints."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env={"PATH": os.environ["PATH"], **_GIT_ENVIRON},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def make_repositories(root: Path) -> None:
    """``team/proj.git`` with a file ``of_proj`` and the submodule ``team/lib.git`` at ``lib``."""
    work, team = root / "work", root / "team"
    team.mkdir(parents=True)
    for name in ("lib", "proj"):
        tree = work / name
        tree.mkdir(parents=True)
        git(tree, "init", "-q", "-b", "main")
        (tree / f"of_{name}").write_text(f"content of {name}\n")
        if name == "proj":
            (tree / ".gitmodules").write_text('[submodule "lib"]\n\tpath = lib\n\turl = ../lib.git\n')
            commit = git(work / "lib", "rev-parse", "HEAD")
            git(tree, "update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
        git(tree, "add", f"of_{name}", *([".gitmodules"] if name == "proj" else []))
        git(tree, "commit", "-q", "-m", name)
        git(work, "clone", "-q", "--bare", str(tree), str(team / f"{name}.git"))
    shutil.rmtree(work)


# ---- http ----------------------------------------------------------------------------------------------


@dataclass
class GitHttp:
    """``git http-backend`` behind Basic authentication."""

    root: Path
    username: str
    password: str
    port: int = 0
    #: ``granted`` and ``refused`` requests, and those ``anonymous``.
    answers: list[str] = field(default_factory=list)

    def application(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """The WSGI application."""
        login = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        given = environ.get("HTTP_AUTHORIZATION", "")
        if given != f"Basic {login}":
            self.answers.append("refused" if given else "anonymous")
            start_response("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"')])
            return [b""]
        self.answers.append("granted")
        head, _, body = self._backend(environ).partition(b"\r\n\r\n")
        headers = [line.partition(": ")[::2] for line in head.decode("latin-1").split("\r\n")]
        fields = {name.title(): value for name, value in headers}
        start_response(fields.pop("Status", "200 OK"), list(fields.items()))
        return [body]

    def _backend(self, environ: dict[str, Any]) -> bytes:
        """One call of the CGI program (git-http-backend(1), RFC 3875)."""
        passed = ["PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "CONTENT_TYPE", "CONTENT_LENGTH"]
        passed += ["REMOTE_ADDR", "HTTP_CONTENT_ENCODING", "HTTP_GIT_PROTOCOL"]
        variables = {name: str(environ[name]) for name in passed if environ.get(name)}
        variables |= {"GIT_PROJECT_ROOT": str(self.root), "GIT_HTTP_EXPORT_ALL": "1"}
        done = subprocess.run(
            ["git", "http-backend"],
            input=environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)),
            env={"PATH": os.environ["PATH"], "REMOTE_USER": self.username, **_GIT_ENVIRON, **variables},
            capture_output=True,
            check=True,
        )
        return bytes(done.stdout)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the requests are counted."""


@contextlib.contextmanager
def git_http(root: Path, username: str, password: str) -> Iterator[GitHttp]:
    """The server of the repositories below ``root``."""
    front = GitHttp(root, username, password)
    with make_server("127.0.0.1", 0, front.application, _Server, _Handler) as server:
        front.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()
