"""The child process that runs WhatsApp sessions: the only place that loads neonize's shared library.

Started by `bridge.engine.port` as `python -m bridge.engine.host`; speaks `bridge.engine.wire` on what were its stdin
and stdout. It imports neither trio nor protobuf nor most of neonize: it carries bytes between library and bridge.
"""
