"""FILES INTO A LAYER: one read of each source makes the file, its hash, the layer's index and its diff ID."""
