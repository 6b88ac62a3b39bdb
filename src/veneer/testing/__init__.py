"""What others test with: tiny images and random trees made by code, a registry that misbehaves, the driver suite.

Shipped, because an outside driver has to pass the same suite; nothing else in veneer imports it.
"""
