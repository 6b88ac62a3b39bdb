"""Images in a browser: pages, the JSON they are made of, and the one-file report's data.

One process, one event loop for the connections; every question to the engine is asked on a thread of a bounded pool.
Loopback unless told otherwise, read-only, nothing from elsewhere.  Knows HTTP; what the answers mean, `analysis` says.
"""
