"""THE DOCKERFILE LANGUAGE: text in, instructions with line numbers out; no files, no store.

Source: moby/buildkit frontend/dockerfile/docs/reference.md and its parser's observed behaviour.
"""
