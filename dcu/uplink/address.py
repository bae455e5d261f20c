"""The broker's address as people write it: `mqtts://host[:port]`."""

from typing import Final
from urllib.parse import urlsplit

PORT: Final = 8883
FORM: Final = f"mqtts://host:{PORT}"


def parse(text: str) -> tuple[str, int]:
    """Host and port; 8883 where none is written.

    Raises:
        ValueError: it is none, in words.
    """
    try:
        url = urlsplit(text)
        host, port = url.hostname, PORT if url.port is None else url.port
    except ValueError:
        raise ValueError(f"{text!r} is no broker address") from None
    if url.scheme == "mqtt":
        raise ValueError("plain MQTT is refused: readings and commands need mutual TLS")
    if url.scheme != "mqtts" or not host or not port or url.path not in {"", "/"} or url.query or url.username:
        raise ValueError(f"{text!r} is no broker address")
    return host, port
