"""Installation of rocm-trace-lite (contract 11.2, defect 41) against a release server on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

WHEEL = "rocm_trace_lite-0.3.3-py3-none-any.whl"
CONTENT = b"a wheel"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PASSWORD = "tops3cret"


class Server:
    """Serves releases; ``asset`` is what the pinned release lists."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                status, body = outer.answer(self.path, self.headers.get("Authorization", ""))
                self.send_response(status)
                if status == 401:
                    self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.asset: dict[str, Any] = {"name": WHEEL, "digest": f"sha256:{DIGEST}"}

    def answer(self, path: str, authorization: str) -> tuple[int, bytes]:
        if path.startswith("/repos/o/r/releases/"):
            asset = {"browser_download_url": f"{self.url}/files/{self.asset['name']}", **self.asset}
            return 200, json.dumps({"assets": [asset, {"name": "notes.txt"}]}).encode()
        if path.startswith("/private/"):
            wanted = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
            return (200, CONTENT) if authorization == wanted else (401, b"")
        return (200, CONTENT) if path.startswith("/files/") else (404, b"")


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


def _install(workspace: Any, server: Server, **env: str) -> Any:
    """Runs the installer with a pip that shows its arguments and keeps the wheel."""
    workspace.real("python3")
    site = workspace.root / "site"
    (site / "pip").mkdir(parents=True)
    (site / "pip/__init__.py").touch()
    (site / "pip/__main__.py").write_text(
        "import shutil, sys\nprint('pip', *sys.argv[1:-1])\nshutil.copy(sys.argv[-1], '..')\n",
        encoding="utf-8",
    )
    options = f"""
        --package rocm_trace_lite --url-variable ROCM_TRACE_LITE_WHEEL_URL
        --latest-variable ROCM_TRACE_LITE_FOLLOW_LATEST --repository o/r --release v0.3.3 --api {server.url}
    """
    environ = {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1", **env}
    return workspace.run("python3", "../scripts/common/tools/install_wheel.py", *options.split(), env=environ)


def test_the_pinned_release_is_installed_and_verified(workspace: Any, server: Server) -> None:
    """Defect 41: container scripts install only pinned versions."""
    done = _install(workspace, server)
    assert done.returncode == 0, done.stderr
    assert server.requests == ["/repos/o/r/releases/tags/v0.3.3", f"/files/{WHEEL}"]
    assert (workspace.root / WHEEL).read_bytes() == CONTENT
    assert "--no-deps --no-index" in done.stdout
    assert "not verified" not in done.stdout


def test_the_latest_release_only_on_request(workspace: Any, server: Server) -> None:
    done = _install(workspace, server, ROCM_TRACE_LITE_FOLLOW_LATEST="1")
    assert done.returncode == 0
    assert server.requests[0] == "/repos/o/r/releases/latest"


@pytest.mark.parametrize(
    ("asset", "reason"),
    [
        ({"name": WHEEL, "digest": "sha256:" + "0" * 64}, "has not the stated SHA-256"),
        ({"name": WHEEL}, "states no SHA-256"),
        ({"name": WHEEL.replace("0.3.3", "0.4.0"), "digest": f"sha256:{DIGEST}"}, "is not of release v0.3.3"),
        ({"name": "other-1-py3-none-any.whl", "digest": f"sha256:{DIGEST}"}, "not exactly one wheel"),
    ],
)
def test_a_release_that_is_not_what_it_should_be_is_refused(
    workspace: Any, server: Server, asset: dict[str, Any], reason: str
) -> None:
    server.asset = asset
    done = _install(workspace, server)
    assert done.returncode == 1
    assert reason in done.stderr
    assert "pip" not in done.stdout


def test_the_address_of_the_user_is_never_printed(workspace: Any, server: Server) -> None:
    """Contract 11.2: ``ROCM_TRACE_LITE_WHEEL_URL`` is never logged."""
    host = server.url.removeprefix("http://")
    url = f"http://me:{PASSWORD}@{host}/private/{WHEEL}?sig=abcdef#sha256={DIGEST}"
    done = _install(workspace, server, ROCM_TRACE_LITE_WHEEL_URL=url)
    assert done.returncode == 0, done.stderr
    assert (workspace.root / WHEEL).read_bytes() == CONTENT
    for part in (PASSWORD, "abcdef", host):
        assert part not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (f"/missing/{WHEEL}", "the server answers 404"),
        (f"/private/{WHEEL}", "the server answers 401"),
        (f"/files/{WHEEL}#sha256={'1' * 64}", "has not the stated SHA-256"),
        ("/files/archive.tar.gz", "does not end with the name of a wheel"),
    ],
)
def test_errors_do_not_show_the_address(workspace: Any, server: Server, path: str, reason: str) -> None:
    done = _install(workspace, server, ROCM_TRACE_LITE_WHEEL_URL=server.url + path)
    assert done.returncode == 1
    assert reason in done.stderr
    assert server.url not in done.stdout + done.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/x/" + WHEEL, "ftp://h/" + WHEEL, "http://[" + WHEEL])
def test_a_server_that_cannot_be_reached_or_a_wrong_address(workspace: Any, server: Server, url: str) -> None:
    done = _install(workspace, server, ROCM_TRACE_LITE_WHEEL_URL=url)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cannot be installed from ROCM_TRACE_LITE_WHEEL_URL" in done.stderr


def test_a_package_of_the_image_is_used(workspace: Any) -> None:
    workspace.fake("rtl", "true")
    done = workspace.step(
        "pre_scripts/trace.sh", "rocm_trace_lite", env={"ROCM_TRACE_LITE_WHEEL_URL": "http://x"}
    )
    assert (done.returncode, done.stdout) == (0, "rocm_trace_lite: the image's package is used\n")


def test_an_image_without_python_cannot_have_it(workspace: Any) -> None:
    done = workspace.step("pre_scripts/trace.sh", "rocm_trace_lite")
    assert done.returncode == 1
    assert "no python3 in the image" in done.stderr
