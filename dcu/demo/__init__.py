"""The whole story on one machine: `dcu demo`."""
