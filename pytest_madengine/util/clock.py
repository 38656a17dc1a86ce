"""The time of day, as results have it."""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> str:
    """The current time as UTC ISO-8601 with seconds, e.g. ``2026-11-23T21:00:00Z``."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_precise() -> str:
    """The current time as UTC ISO-8601 with milliseconds, e.g. ``2026-11-23T21:00:00.123Z``."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
