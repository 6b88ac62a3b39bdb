"""DOCKERFILE TO IMAGE: the language, the context, the cache, the steps, the stages, what comes out.

Every step makes an image with its own ID and a Parent, as docker's classic builder does; that chain is the build
cache and what `history` shows.  The language is today's (`docker/dockerfile:1`), stages are a graph and run side by
side, and every miss of the cache is explained.  Knows the store, registries and how to run a process; does not know
who asks (CLI, API, a Python program): it takes a `BuildRequest` and tells `Event`s.

    language/   text -> instructions with their lines; ${...}; the linter
    context/    what COPY and ADD may read: a directory, an archive, a git tree; .dockerignore; checksums
    caching/    what was done before, why it is not, caches elsewhere
    running/    RUN: its container on a draft, and its mounts
    copying/    files -> a layer's directory, index and diff ID, in one read
"""
