"""executors room."""
