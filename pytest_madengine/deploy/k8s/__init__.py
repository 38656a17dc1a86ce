"""Kubernetes objects for the models of a manifest."""
