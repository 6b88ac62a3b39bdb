"""`make demo`: an image's journey, with real tools on this machine alone."""
