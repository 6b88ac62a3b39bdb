"""veneer: a container-image engine.

`veneer.open()` gives the engine; everything it hands out are plain typed values.
"""

__version__ = "0.1.0"
