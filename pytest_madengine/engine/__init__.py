"""The container engine: where it is, its client and command line, who owns what in it."""
