"""Containers: every verb about them.

Knows what docker's API calls things, the store's rows and how a monitor is asked; does not know terminals, nor how a
runtime is spoken to.
"""
