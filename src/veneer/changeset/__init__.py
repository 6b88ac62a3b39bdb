"""What a layer's bytes say: tar in, a directory and a layer index out; and back.

Knows tar in all its dialects, compression, whiteouts in every spelling, and how to write below a directory without ever
leaving it.  Knows no store, no image and no registry; names are bytes.
Source: OCI image-spec layer.md; POSIX pax; the kernel's overlayfs.rst.
"""
