"""Benchmarks of the plugin itself: what it adds to pytest and to ``docker run``.

``make bench`` (or ``python -m benchmarks``) prints one table.  Every figure is compared with a reference that
is measured in the same run, alternating with it, so that the table means the same on a fast, a slow and a
busy machine.  Nothing is asserted: the exit status is not 0 only when a benchmark cannot be carried out.
"""
