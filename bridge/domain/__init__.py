"""What the bridge is about, without I/O: identities, states, events, commands, schedules. Standard library only."""
