"""What all layers of the tests share; each layer and room has a conftest.py of its own below tests/.

Only for the tests of this repository: a MAD repository has its own, e.g. examples/mad/conftest.py.
"""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

pytest_plugins = ["pytester"]

# Property tests: HYPOTHESIS_PROFILE or --hypothesis-profile chooses.  Machines are busy: there are no
# deadlines, and slow generation says nothing about a test.  The examples of a commit are always the same:
# a red run is about the change, and "nightly" looks for new ones.
BUSY = [HealthCheck.too_slow]
settings.register_profile("ci", max_examples=200, derandomize=True, deadline=None, suppress_health_check=BUSY)
settings.register_profile("nightly", max_examples=10_000, deadline=None, suppress_health_check=BUSY)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# A suite started by ``nohup make test &`` has SIGINT ignored, and all that it starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
