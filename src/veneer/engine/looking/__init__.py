"""Looking at images: what is in them, layer by layer, wherever they are.

A `Subject` is one image to be looked at, from the store, an archive or a registry; the questions are functions that
take subjects and give frozen values.  Knows where layer indexes come from; what they mean is for `analysis` to say.
"""
