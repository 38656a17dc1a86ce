"""Shared by all layers."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

pytest_plugins = ["pytester"]

# Property tests: HYPOTHESIS_PROFILE or --hypothesis-profile chooses.  No deadlines: machines are busy.
settings.register_profile("ci", max_examples=200, deadline=None)
settings.register_profile("nightly", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# A suite started by ``nohup make test &`` has SIGINT ignored, and all that it starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
