"""gate room."""
