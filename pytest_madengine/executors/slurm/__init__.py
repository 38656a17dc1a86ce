"""Runs of plans as Slurm jobs."""
