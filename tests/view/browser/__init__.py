"""The pages in Debian's chromium.

A package, so that fixtures of this scope end with its last test: while a browser is driven, an event loop runs in this
thread, and whatever comes after may want one of its own.
"""
