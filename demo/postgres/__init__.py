"""The layers of containers, told with a real database: docs/layers.md shows it, tests/journeys/test_postgres.py runs it.

    .venv/bin/python -m demo.postgres [PAGE]

makes everything in one temporary folder and on the loopback interface, prints each command and what it said, and
leaves nothing behind; with PAGE the output goes into that page (docs/layers.md), between its lines of explanation.
"""
