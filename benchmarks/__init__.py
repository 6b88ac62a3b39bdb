"""`make bench`: what veneer costs beside dockerd, podman and the floor, on this machine, in one run."""
