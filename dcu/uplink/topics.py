"""Topic names under `dcu/v1/<dcu-id>/`. They are a contract with the head-end (DESIGN 6)."""

from typing import Final

from dcu.record import Stream

ROOT: Final = "dcu/v1"


def state(dcu: str) -> str:
    """Presence, retained, with the last will."""
    return f"{ROOT}/{dcu}/state"


def up(dcu: str, stream: Stream) -> str:
    """Batches of one stream."""
    return f"{ROOT}/{dcu}/up/{stream.value}"


def cmd(dcu: str) -> str:
    """Signed documents to the box."""
    return f"{ROOT}/{dcu}/cmd"


def origin(topic: str) -> tuple[str, str] | None:
    """(dcu id, what) of a topic under the root, e.g. ("JH-RNC-0042", "up/profile"); None for any other."""
    parts = topic.split("/", 3)
    if len(parts) < 4 or f"{parts[0]}/{parts[1]}" != ROOT or not parts[2]:
        return None
    return parts[2], parts[3]
