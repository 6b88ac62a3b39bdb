"""Where a layer's files live: directories and mounts.

Knows how a stack of layers becomes one tree (overlay, copies) and what the kernel can do of it here.  Does not know
databases, images, digests or registries; what it needs to know of layers' bytes it asks of `changeset`.
"""
