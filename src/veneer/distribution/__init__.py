"""What others have: registries over HTTP, and images in archives.

Knows the OCI distribution spec, Docker's registry habits and archive layouts, and how to bring what they hold into
the store or out of it.  Does not know how layers lie on disk (the store does) nor what they mean (analysis does).
"""
