"""RUN: an instruction's facts, its container on a draft, its mounts.  What makes any process of an image is `run/`."""
