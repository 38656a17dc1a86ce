# ruff: noqa: T201, UP006, UP032, UP035, UP045, PTH118, PTH119, PTH123  (must run with Python 3.6)
"""install_wheel.py: installs one Python wheel whose origin is known (contract 11.2, rocm_trace_lite).

Runs inside the container with whatever python3 the image has (3.6 or later).  Where the wheel comes from:

1. the address in the environment variable ``--url-variable``; ``#sha256=<hex>`` at its end is verified;
2. with a true value in ``--latest-variable``: the latest release of ``--repository``;
3. otherwise the release ``--release`` of ``--repository``.

Wheels of a release are verified against the digest that the release states.  Dependencies are not installed:
what the image has stays as it is.  An address is never printed and never an argument of a process, because it
may hold a credential.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from typing import Any, Dict, List, Optional, Tuple
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urldefrag, urlsplit, urlunsplit
from urllib.request import HTTPBasicAuthHandler, HTTPPasswordMgrWithDefaultRealm, Request, build_opener

#: Seconds without data after which a download is given up.
SILENCE = 60
WHEEL = re.compile(r"[A-Za-z0-9_.]+-[A-Za-z0-9_.!+]+(-[A-Za-z0-9_.]+){3,4}\.whl")


class InstallError(Exception):
    """Why nothing can be installed; the text holds no address."""


def download(address: str) -> bytes:
    """Content of an address; user name and password in it are sent as basic authentication.

    :raises InstallError: with the status or the reason, without the address.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("https", "http", "file"):
        raise InstallError("the address of the wheel is neither https, http nor file")
    handlers = []
    if parts.username:
        host = parts.netloc.rpartition("@")[2]
        address = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
        passwords = HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, address, unquote(parts.username), unquote(parts.password or ""))
        handlers.append(HTTPBasicAuthHandler(passwords))
    request = Request(address, headers={"User-Agent": "madengine", "Accept": "*/*"})
    try:
        with build_opener(*handlers).open(request, timeout=SILENCE) as response:
            content: bytes = response.read()
            return content
    except HTTPError as error:
        raise InstallError("the server answers {}".format(error.code)) from None
    except URLError as error:
        raise InstallError("the server cannot be reached ({})".format(type(error.reason).__name__)) from None
    except (OSError, ValueError) as error:
        raise InstallError("the download failed ({})".format(type(error).__name__)) from None


def release_wheel(api: str, repository: str, release: Optional[str], package: str) -> Tuple[str, str]:
    """Address and SHA-256 of the package's wheel in a release; ``None`` is the latest release."""
    which = "tags/" + release if release else "latest"
    try:
        data = json.loads(download("{}/repos/{}/releases/{}".format(api, repository, which)).decode("utf-8"))
    except ValueError:
        raise InstallError("the list of the release is not JSON") from None
    wheels: List[Dict[str, Any]] = [
        asset
        for asset in data.get("assets", [])
        if asset["name"].endswith(".whl") and asset["name"].replace("-", "_").startswith(package + "_")
    ]
    if len(wheels) != 1:
        names = ", ".join(asset["name"] for asset in wheels) or "none"
        raise InstallError("the release has not exactly one wheel of {} but: {}".format(package, names))
    if release and "-{}-".format(release.lstrip("v")) not in wheels[0]["name"]:
        raise InstallError("the wheel {} is not of release {}".format(wheels[0]["name"], release))
    digest = str(wheels[0].get("digest") or "")
    if not digest.startswith("sha256:"):
        raise InstallError("the release states no SHA-256 for {}".format(wheels[0]["name"]))
    return wheels[0]["browser_download_url"], digest[len("sha256:") :]


def find_wheel(options: argparse.Namespace, environ: Dict[str, str]) -> Tuple[str, str, str]:
    """Address, SHA-256 (empty: unknown) and a name of the origin that may be printed."""
    given = environ.get(options.url_variable, "").strip()
    if given:
        address, fragment = urldefrag(given)
        match = re.match(r"sha256=([0-9a-fA-F]{64})$", fragment)
        return address, match.group(1).lower() if match else "", options.url_variable
    latest = environ.get(options.latest_variable, "").strip().lower() in ("1", "true", "yes", "on")
    release = None if latest else options.release
    address, digest = release_wheel(options.api, options.repository, release, options.package)
    return address, digest, "the {} release of {}".format(release or "latest", options.repository)


def install(name: str, content: bytes) -> None:
    """Installs the wheel with pip, without dependencies and without any package index."""
    environ = dict(os.environ)
    # In a container there is no system to protect from pip.
    environ.update(PIP_BREAK_SYSTEM_PACKAGES="1", PIP_ROOT_USER_ACTION="ignore")
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, name)
        with open(path, "wb") as stream:
            stream.write(content)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        status = subprocess.call([*pip, "--no-deps", "--no-index", path], env=environ)
    if status != 0:
        raise InstallError("pip ended with status {}".format(status))


def main(arguments: List[str]) -> int:
    """Finds, verifies and installs the wheel; see the text of this file."""
    parser = argparse.ArgumentParser(description="Installs one wheel whose origin is known.")
    parser.add_argument("--package", required=True, help="import name, e.g. rocm_trace_lite")
    parser.add_argument("--url-variable", required=True, help="variable that may hold the address of a wheel")
    parser.add_argument("--latest-variable", required=True, help="variable that asks for the latest release")
    parser.add_argument("--repository", required=True, help="owner/name")
    parser.add_argument("--release", required=True, help="tag of the pinned release")
    parser.add_argument("--api", default="https://api.github.com", help="root of the release API")
    options = parser.parse_args(arguments)
    origin = options.url_variable if os.environ.get(options.url_variable, "").strip() else options.repository
    try:
        address, digest, origin = find_wheel(options, dict(os.environ))
        name = unquote(os.path.basename(urlsplit(address).path))
        if WHEEL.fullmatch(name) is None:
            raise InstallError("the address does not end with the name of a wheel")
        content = download(address)
        if digest and hashlib.sha256(content).hexdigest() != digest:
            raise InstallError("the wheel has not the stated SHA-256: refused")
        install(name, content)
    except (InstallError, ValueError) as failure:
        # The text of a ValueError may hold the address.
        error = failure if isinstance(failure, InstallError) else "the address is malformed"
        print("{} cannot be installed from {}: {}".format(options.package, origin, error), file=sys.stderr)
        print("use an image that has it, or set {} to a wheel".format(options.url_variable), file=sys.stderr)
        return 1
    print("{}: installed from {}{}".format(options.package, origin, "" if digest else " (not verified)"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
