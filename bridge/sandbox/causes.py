"""Finds what went wrong inside the groups into which Trio's nurseries put it."""


def first_cause(error: BaseException) -> BaseException:
    """Return the first error that is no group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
