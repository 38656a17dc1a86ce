"""Runs of plans in containers of this host's engine."""
