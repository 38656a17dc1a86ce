"""The results as an e-mail."""
