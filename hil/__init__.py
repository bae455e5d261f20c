"""Hardware in the loop: the serial loopback suite."""
