"""Virtual meters and a paced, faulty serial line. Shares no code with the drivers, so no misreading hides."""
