"""The pictures: an image peeled in a terminal (`peel`), shown in a browser (`web`), told by badges, watched for change.

Each takes values of the engine's verbs and draws them.  Knows how things look; what images are, the engine says.  The
libraries for it are extras: aiohttp is known to `web` alone, Textual to `peel` alone.
"""
