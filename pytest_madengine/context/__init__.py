"""context room."""
