"""Worker processes of pytest-xdist and what each of them starts next."""
