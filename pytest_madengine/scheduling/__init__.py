"""Scheduling: GPU leases between processes, and which item runs next."""
