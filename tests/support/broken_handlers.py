"""A module that cannot be imported."""

raise ImportError("what it needs is not installed")
