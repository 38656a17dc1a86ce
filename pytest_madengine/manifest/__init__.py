"""The build manifest: what a build host hands to a run host."""
