"""The old place of what sessions remove at their start, until they ask the engine's room."""

from pytest_madengine.engine.leftovers import find_leftovers, remove_leftovers

__all__ = ["find_leftovers", "remove_leftovers"]
