"""What every room may use: files, locks, names."""
