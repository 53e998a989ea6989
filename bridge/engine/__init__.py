"""WhatsApp sessions in child processes.

`pool` hands out sessions and keeps the hosts that run them alive, `port` is the parent's end of one host, `session`
what an actor holds. `host` is the child: the only code that touches neonize's shared library. `wire` and `journal`
belong to both sides, `translate` turns what a session reports into signals and events of the domain.
"""
