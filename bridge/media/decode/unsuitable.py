"""The one error of decoding."""


class Unsuitable(Exception):
    """The file is not what the task needs."""
