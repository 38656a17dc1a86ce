"""The results as HTML pages."""
