"""Logical names: the six-byte OBIS code of a COSEM object (IEC 62056-6-1)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class LogicalName:
    """A logical name A-B:C.D.E*F, written here `a.b.c.d.e.f`, each group 0..255."""

    octets: bytes

    def __post_init__(self) -> None:
        if len(self.octets) != 6:
            raise ValueError(f"a logical name has 6 octets, not {len(self.octets)}")

    @classmethod
    def of(cls, text: str) -> "LogicalName":
        """From `1.0.99.1.0.255`, or with group F left out, which then is 255.

        Raises:
            ValueError: not five or six groups of decimal digits, or a group above 255.
        """
        groups = text.split(".")
        if len(groups) == 5:
            groups.append("255")
        if len(groups) != 6 or not all(g.isascii() and g.isdigit() and int(g) <= 255 for g in groups):
            raise ValueError(f"{text!r} is no logical name: six groups of 0..255, as 1.0.99.1.0.255")
        return cls(bytes(int(g) for g in groups))

    def __str__(self) -> str:
        return ".".join(str(octet) for octet in self.octets)


CLOCK = LogicalName.of("0.0.1.0.0.255")
BILLING_DATE = LogicalName.of("0.0.0.1.2.255")
SERIAL_NUMBER = LogicalName.of("0.0.96.1.0.255")
DEVICE_ID = LogicalName.of("0.0.96.1.2.255")
LOGICAL_DEVICE_NAME = LogicalName.of("0.0.42.0.0.255")
CURRENT_ASSOCIATION = LogicalName.of("0.0.40.0.0.255")
NAMEPLATE = LogicalName.of("0.0.94.91.10.255")
INSTANTANEOUS = LogicalName.of("1.0.94.91.0.255")
INSTANTANEOUS_SCALERS = LogicalName.of("1.0.94.91.3.255")
BLOCK_LOAD = LogicalName.of("1.0.99.1.0.255")
BLOCK_LOAD_SCALERS = LogicalName.of("1.0.94.91.4.255")
DAILY_LOAD = LogicalName.of("1.0.99.2.0.255")
DAILY_LOAD_SCALERS = LogicalName.of("1.0.94.91.5.255")
HDLC_SETUP = LogicalName.of("0.0.22.0.0.255")
DISCONNECT_CONTROL = LogicalName.of("0.0.96.3.10.255")
PAYMENT_MODE = LogicalName.of("0.0.94.96.20.255")
LAST_RECHARGE_AMOUNT = LogicalName.of("0.0.94.96.21.255")
LAST_RECHARGE_TIME = LogicalName.of("0.0.94.96.22.255")
TOTAL_AT_LAST_RECHARGE = LogicalName.of("0.0.94.96.23.255")
CURRENT_BALANCE = LogicalName.of("0.0.94.96.24.255")
BALANCE_TIME = LogicalName.of("0.0.94.96.25.255")
ACTIVE_POWER = LogicalName.of("1.0.1.7.0.255")
LIMITER = LogicalName.of("0.0.17.0.0.255")
CONSUMER_MESSAGE = LogicalName.of("0.0.96.13.0.255")
