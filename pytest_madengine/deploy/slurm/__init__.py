"""Slurm jobs for the models of a manifest."""
