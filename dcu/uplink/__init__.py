"""The only code that touches MQTT: session, publisher, inbox, encodings, topics."""
