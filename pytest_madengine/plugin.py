"""pytest hooks of pytest-madengine (entry point ``pytest11``)."""
