"""overlay2's layers, stacked by FUSE where the kernel's overlay cannot be had: by veneer's own union or by a program.

Knows what the program fuse-overlayfs does wrong, and puts right what can be; does not know images or the store's rows.
Sources: fuse-overlayfs(1); docs/decisions/0021-mounts-and-other-roots.md.
"""
