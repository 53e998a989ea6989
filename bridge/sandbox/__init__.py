"""A local WhatsApp: the real client pairs with it, logs in to it and exchanges messages through it, without a network.

It runs as a process of its own (`python -m bridge.sandbox`, `server.py`). A client comes in through `transport` (proxy,
TLS, websocket) and `connection` (handshake, stanzas); `queries`, `pairing`, `relay`, `groups` and `presence` answer it,
all of them named by `world`. `phones` are the simulated people on the other side, `oracle` remembers what happened,
`faults` make it go wrong, `control` is the HTTP API over all that, and `client` the Python side of that API. What must
survive a crash is in `state`.
"""
