"""The build cache: what a step depends on and what was made of it before, why it misses, caches from and for elsewhere.

Its rows are the store's (store/builds.py); here is what they mean.
"""
