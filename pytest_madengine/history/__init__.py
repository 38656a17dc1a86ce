"""history room."""
