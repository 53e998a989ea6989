"""The process that decodes one file: nothing but this package and the standard library runs in it."""
