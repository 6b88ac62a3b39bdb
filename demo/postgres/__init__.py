"""The layers of containers, told with a real database.

    .venv/bin/python -m demo.postgres [docs/layers.md]

makes everything in one temporary folder and on the loopback interface, prints each command and what it said, and
leaves nothing behind; with a page the output goes into it, between its lines of explanation.  A test tells it, too.
"""
