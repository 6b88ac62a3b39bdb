"""The verbs: what can be done with images, layers and the store.

`Engine` wires the house and holds three nouns: `images`, `layers`, `system`.  Verbs take and give plain typed
values, report through a `Progress`, raise `VeneerError`s, and print nothing; the command line, and later the
API server, are thin over them.
"""
