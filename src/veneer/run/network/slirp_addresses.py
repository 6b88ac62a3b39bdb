"""What slirp4netns gives a container: always the same, for each has a network to itself.  Source: slirp4netns(1)."""

from __future__ import annotations

ADDRESS, GATEWAY, SUBNET = "10.0.2.100", "10.0.2.2", "10.0.2.0/24"
DNS = "10.0.2.3"
"""Where it passes questions on to the host's own name servers, loopback ones too."""
