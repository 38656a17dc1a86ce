"""perf.csv and the files beside it: written, never drawn."""
