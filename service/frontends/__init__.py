"""Several processes that answer HTTP and decode, before the one that owns the device.

supervisor ─┬─ front end ─ client ─╮ messages (a Unix socket), pixels and answers (shared memory)
            ├─ front end ─ client ─┼─ host ─ engine
            └─ the engine's process ╯
"""
