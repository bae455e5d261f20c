"""The field process: serial ports, meter keys, store and relay authority in one place."""
