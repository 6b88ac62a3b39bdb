"""Other engines' data roots, read where they lie: docker's, containerd's, containers/storage's.

Knows their layouts on disk.  Nothing is ever written there, and nothing is locked: an engine that is at work may change
what is looked at.
"""
