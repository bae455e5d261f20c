"""What can be wrong for a virtual meter. None of these leaves `dcu.sim` while a meter answers."""


class Malformed(Exception):
    """Octets that are not what the standard says. The meter answers as a real one does, or stays silent."""


class Unsecured(Exception):
    """A ciphered APDU that fails: wrong security control, bad tag. Its counter is not accepted."""


class CounterStale(Exception):
    """An invocation counter that is not above the last accepted one: a replay."""

    def __init__(self, last: int) -> None:
        super().__init__(f"invocation counter is not above {last}")
        self.last = last


class ConfigMistake(Exception):
    """The description of the virtual meters has a mistake; the text names place, cause and cure."""
