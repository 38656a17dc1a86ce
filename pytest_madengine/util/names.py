"""Names that fit: one path component, or so many characters; a hash keeps names apart that were changed."""

from __future__ import annotations

import hashlib
import re
from typing import Final

#: Characters not allowed in a path component; and texts that need no change.
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]")
_SAFE: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,150}")
#: A file name may have 255 bytes on most file systems; log names get endings such as ``.build.live.log``.
LONGEST: Final = 200


def safe_name(text: str) -> str:
    """A text as one path component: characters outside ``[A-Za-z0-9._-]`` become ``_`` (contract 8.2).

    Never empty, ``.`` or ``..``; at most 200 characters, a hash keeps two names that were cut apart.
    """
    if _SAFE.fullmatch(text):  # nearly always, and much cheaper than what follows
        return text
    name = _UNSAFE.sub("_", text)
    if not name.strip("."):
        return "_" * max(len(name), 1)
    return shortened(name, LONGEST)


def shortened(name: str, limit: int, *, joint: str = "-", strip: str = "._-") -> str:
    """The name, cut to the limit if it is longer; a hash keeps two names that were cut apart.

    :param joint: stands before the hash.
    :param strip: characters that do not stand before the joint.
    """
    return name if len(name) <= limit else hashed(name, name, limit, joint=joint, strip=strip)


def hashed(
    readable: str, source: str, limit: int, *, digits: int = 8, joint: str = "-", strip: str = "._-"
) -> str:
    """``<readable>-<hash of the source>`` within the limit; the hash alone where nothing is readable.

    :param source: what the name stands for; different sources have different names.
    """
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
    kept = readable[: limit - digits - len(joint)].rstrip(strip)
    return f"{kept}{joint}{digest}" if kept else digest
