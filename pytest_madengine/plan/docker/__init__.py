"""Options of docker run: parsed, checked, and rendered as arguments."""
