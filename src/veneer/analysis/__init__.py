"""What layers mean: pure functions over image configs and layer indexes.

Knows how history rows pair with layers and how a stack of layers looks from above.  Opens no store, mounts nothing,
prints nothing: what it needs is handed in, what it finds is handed out.
"""
