"""What we have: blobs, layers, images, and what names them.

Knows SQLite, alone.  One invariant: a row implies its file, whole and verified.  Knows nothing of registries,
archives and output.
"""
