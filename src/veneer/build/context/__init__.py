"""WHAT A BUILD MAY READ: contexts, .dockerignore, which files a COPY means, their checksums.

Nothing outside a context's root is ever opened, whatever links say.
"""
