"""The old place of :func:`owner_labels`, for the pipeline until it asks the engine's room."""

from pytest_madengine.engine.owner import owner_labels

__all__ = ["owner_labels"]
