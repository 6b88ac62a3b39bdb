"""Layers in the format of aufs, stacked by whichever of three mounters the machine has.

Knows the format (`.wh.NAME`, `.wh..wh..opq`) and how a kernel without aufs is made to show it; does not know images
or the store's rows.  Sources: aufs's uapi header and its manual page aufs(5); moby daemon/graphdriver/aufs;
docs/decisions/0016-aufs.md.
"""
