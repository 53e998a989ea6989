"""The instances: one actor each, the directory that finds them, and what they emit about themselves."""
