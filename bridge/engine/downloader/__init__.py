"""Fetches the files of messages that came, apart from the engine: in small processes of the lowest priority, piece by
piece, so that a large file neither swells an engine host nor holds up a text.

`place` says where a file is and with which keys, `pool` is the bridge's side, `__main__` a process of it; `web` gets
the sealed file, `sealed` opens it. What cannot be had this way the engine downloads (bridge/engine/transfer.py).
"""
