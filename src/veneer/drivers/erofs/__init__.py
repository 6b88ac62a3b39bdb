"""Layers as metadata images over one store of contents: each file's bytes are kept once, whatever layers have it.

Knows directories, mounts and layer indexes; does not know images or the store's rows.  Sources: Linux
Documentation/filesystems/erofs.rst, overlayfs.rst (Data-only lower layers); the idea is composefs's.
"""
