"""The HTTP API: paths, fields and status codes. It knows the store and the directory of instances, never the engine."""
