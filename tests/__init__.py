"""The tests; a package, for one of the installed libraries brings a top-level `tests` of its own."""
