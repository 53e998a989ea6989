"""Measures the product beside bare neonize, in the same run, on the same machine: `make bench`.

What is measured and how is told in docs/benchmarks.md.
"""
