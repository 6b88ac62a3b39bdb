"""What the specifications say: digests, names, platforms, manifests, image configs.

Values without I/O.  Raw bytes are kept, parsed views are for reading; whatever comes from strangers is checked here.
Source: OCI image-spec and distribution-spec; Docker's schema 2 and distribution/reference.
"""
