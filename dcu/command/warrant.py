"""The warrant that lets a driver change a meter: its shape. It is made in `dcu.relay.warrant` only."""

from abc import ABC, abstractmethod

from dcu.meter import AttributeRef, MethodRef


class Warrant(ABC):
    """Leave to send exactly one SET or ACTION to exactly one meter, once, until a moment.

    Drivers send nothing that changes a meter without one. Only `dcu.relay.warrant` can define the class that is
    constructed: a subclass anywhere else is refused when it is defined.
    """

    def __init_subclass__(cls) -> None:
        if cls.__module__ != "dcu.relay.warrant":
            raise TypeError("warrants are made in dcu.relay.warrant only")

    @abstractmethod
    def spend(self, serial: str, target: AttributeRef | MethodRef, data: bytes, monotonic_s: float) -> None:
        """Use the warrant up, immediately before the request is sent.

        Args:
            serial: the meter's, as read from it in this association.
            target: the attribute to set or the method to invoke.
            data: its A-XDR encoded value or parameter.
            monotonic_s: now.

        Raises:
            WarrantRequired: spent already, too late, or for another meter, target or value.
        """
