"""Where records go: files, databases, summaries, sites, CI systems."""
