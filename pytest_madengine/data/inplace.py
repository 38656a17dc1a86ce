"""Providers that transfer nothing on the host: ``local`` and ``custom`` (contract 13.3)."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Final

from pytest_madengine.data.config import Source
from pytest_madengine.data.mirror import mirror_directory
from pytest_madengine.data.progress import measured
from pytest_madengine.data.provider import Access, Delivery, Unusable
from pytest_madengine.errors import DataError
from pytest_madengine.resources import scripts_common

_COMMON: Final = "scripts/common/"


class LocalProvider:
    """Data that lies on this host; it is mounted where it is, ``mirrorlocal`` is ignored."""

    name = "local"
    fields: frozenset[str] = frozenset()

    def plan(self, source: Source, access: Access) -> Delivery:
        """The path, which must exist."""
        if not source.path:
            raise Unusable("has no 'path'")
        path = access.root / source.path
        try:
            path.stat()
        except FileNotFoundError:
            raise Unusable(f"{path} does not exist") from None
        except (OSError, ValueError) as error:
            raise Unusable(f"{path}: {getattr(error, 'strerror', None) or error}") from None
        return Delivery(str(path), read_only=not source.read_write)

    def deliver(self, source: Source, access: Access) -> Delivery:
        """The same, with the size unless it takes long to find out."""
        planned = self.plan(source, access)
        return Delivery(
            planned.source, planned.read_only, measured(Path(planned.source), access.timing.clock)
        )


class CustomProvider:
    """A script of the repository that makes the data inside the container."""

    name = "custom"
    fields: frozenset[str] = frozenset()

    def plan(self, source: Source, access: Access) -> Delivery:
        """The script, which must exist below the MAD root, and the mirror it fills."""
        script = posixpath.normpath(source.path) if source.path else ""
        if not script:
            raise Unusable("has no 'path'")
        if script.startswith(("/", "../")) or script in {"..", "."} or not _exists(script, access.root):
            raise Unusable(f"{source.path} is no file below {access.root}")
        mirror = access.mirror_of(source)
        directory = str(mirror_directory(mirror, source.name)) if mirror is not None else ""
        return Delivery(directory, read_only=False, script=script, args=source.args)

    def deliver(self, source: Source, access: Access) -> Delivery:
        """The same; the mirror is made when it is absent."""
        planned = self.plan(source, access)
        if planned.source:
            try:
                Path(planned.source).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DataError(
                    f"mirror {planned.source}: {error.strerror or error}", hint="choose a writable mirror"
                ) from None
        return planned


def _exists(script: str, root: Path) -> bool:
    if (root / script).is_file():
        # A link to a place outside leads nowhere inside the container.
        return (root / script).resolve().is_relative_to(root.resolve())
    # The workspace has the built-in files below the repository's own.
    return script.startswith(_COMMON) and (scripts_common() / script.removeprefix(_COMMON)).is_file()
