"""What SNRM and UA say of information field and window. Source: Green Book 8.4.5.3.2."""

from dcu.drivers.data_link import HdlcOffer


def proposal(offer: HdlcOffer) -> bytes:
    """Information field of SNRM: what both sides may send and receive; none where the standard's defaults do.

    05 and 06 are the information fields sent and received, 07 and 08 the windows.
    """
    if offer == HdlcOffer():
        return b""
    size = offer.max_info_bytes.to_bytes(1 if offer.max_info_bytes <= 0xFF else 2, "big")
    window = offer.window.to_bytes(4, "big")
    values = ((5, size), (6, size), (7, window), (8, window))
    parameters = b"".join(bytes([name, len(value)]) + value for name, value in values)
    return bytes([0x81, 0x80, len(parameters)]) + parameters


def negotiated(information: bytes) -> dict[int, int]:
    """Parameters of a UA: 5 and 6 are the longest information field that the meter sends and receives, octets.

    7 and 8 are its windows, frames. What is not well formed is as if it were not there: the defaults then hold.
    """
    found: dict[int, int] = {}
    if information[:2] != b"\x81\x80" or len(information) < 3:
        return found
    at, end = 3, min(len(information), 3 + information[2])
    while at + 2 <= end:
        name, length = information[at], information[at + 1]
        at += 2
        if length in {1, 2, 4} and at + length <= end:
            found[name] = int.from_bytes(information[at : at + length], "big")
        at += length
    return found
