"""A union of directories that a process of veneer's serves by FUSE, where the kernel has none that would do.

Knows how layers on disk spell what they delete: in aufs's way, in which it also writes, and in overlay's.  Whose the
branches are, and when one may be written to, is their driver's business.  Sources: Linux
Documentation/filesystems/fuse.rst; aufs(5).
"""
