"""Kills the bridge, and PostgreSQL, at random moments while events flow, and counts what arrives."""
