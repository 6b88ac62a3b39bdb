"""THE MONITOR: one process a container, which starts it, watches it, and is asked whatever is wanted of it.

`launch` starts one, `client` talks to it, `state` tells what happened, also where nobody lives to be asked.  The
monitor itself is a program of its own (`program.py`), started lean, or a fork of the command (`main.forked`): what it
imports is paid for by every container.
Decision: docs/decisions/0014-the-monitor.md.
"""
