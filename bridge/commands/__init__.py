"""The commands that talk to a running bridge over its HTTP API, one module per resource, imported when they are run."""
