"""Data of models: providers, transfers and their cache (contract section 13)."""
