"""IMAGE TO PROCESS: the runtime-spec document of a process, and the OCI runtime that runs it.

Knows mounts and namespaces; does not know images, the store or Dockerfiles.  Source: OCI runtime-spec config.md.
"""
