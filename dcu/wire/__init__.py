"""Frames on a Unix socket: a 4-octet big-endian length and one CBOR map (RFC 8949), at most 256 KiB.

Used by `uplink.sock` and `field.sock`. Whatever the peer sends that is not such a frame, whole and in time, is a
`SocketFault`: that connection ends and the process goes on. A map holds only null, booleans, integers, floats, text,
octets, lists and maps with text keys, encoded the way we encode them: nothing else has a business here.
Source: DESIGN 2.
"""

import math
import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import cbor2

from dcu.errors import Fate, SocketFault

MAX_FRAME: Final = 256 * 1024
"""Octets of CBOR in one frame."""

MAX_DEPTH: Final = 16

_LENGTH: Final = struct.Struct(">I")
_UCRED: Final = struct.Struct("=iII")  # struct ucred of unix(7): pid, uid, gid
_BACKLOG: Final = 8


class PeerClosed(SocketFault):
    """The peer closed between two frames: an orderly end. The connection is given up; the process goes on."""

    fate = Fate.END_CONNECTION


def encode_frame(message: Mapping[str, Any]) -> bytes:
    """Length and CBOR of `message`.

    Raises:
        SocketFault: it is larger than a frame may be.
    """
    body = cbor2.dumps(dict(message))
    if len(body) > MAX_FRAME:
        raise SocketFault(f"a frame of {len(body)} octets is above the limit of {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def decode_body(body: bytes) -> dict[str, Any]:
    """The map that a frame's body holds.

    Raises:
        SocketFault: not one CBOR map of plain values, or encoded in another way than ours.
    """
    try:
        message = cbor2.loads(
            body, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False, strict_hashable_types=True
        )
        if type(message) is not dict or not _plain(message):
            raise SocketFault("a frame that is not a map of plain values")
        if cbor2.dumps(message) != body:
            raise SocketFault("a frame with trailing octets, or encoded in a way that is not ours")
    except (cbor2.CBORError, ValueError, TypeError, ArithmeticError, RecursionError) as fault:
        raise SocketFault(f"a frame that is not CBOR: {fault}") from fault
    return cast("dict[str, Any]", message)


def _plain(value: object) -> bool:
    kind = type(value)
    if value is None or kind in {bool, int, str, bytes}:
        return True
    if kind is float:
        return math.isfinite(cast("float", value))
    if kind is list:
        return all(_plain(member) for member in cast("list[object]", value))
    if kind is dict:
        return all(type(key) is str and _plain(member) for key, member in cast("dict[object, object]", value).items())
    return False


class Wire:
    """One connection that carries frames. It belongs to one thread; only `close` may come from another.

    Args:
        sock: a connected stream socket; the wire owns it from here on.
        frame_s: within this time a frame must be sent whole, or received whole once it has begun.
    """

    def __init__(self, sock: socket.socket, *, frame_s: float = 10.0) -> None:
        self._sock = sock
        self._frame_s = frame_s

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one frame.

        Raises:
            SocketFault: too large, the peer is gone, or it does not read.
        """
        frame = encode_frame(message)
        try:
            self._sock.settimeout(self._frame_s)
            self._sock.sendall(frame)
        except OSError as fault:
            raise SocketFault(f"cannot send: {fault}") from fault

    def receive(self, timeout_s: float) -> dict[str, Any]:
        """The next frame, whole within `timeout_s`; one that has begun has `frame_s` at most.

        Raises:
            PeerClosed: the peer closed between two frames.
            SocketFault: late, half, too large, or not a map of plain values.
        """
        if not self.wait(timeout_s):
            raise SocketFault(f"no answer in {timeout_s:g} s")
        deadline = time.monotonic() + self._frame_s
        (length,) = _LENGTH.unpack(self._exactly(_LENGTH.size, deadline, begun=False))
        if not 0 < length <= MAX_FRAME:
            raise SocketFault(f"a frame of {length} octets; the limit is {MAX_FRAME}")
        return decode_body(self._exactly(length, deadline, begun=True))

    def wait(self, timeout_s: float) -> bool:
        """Whether something (a frame, or the end) is there to be received within `timeout_s`.

        Raises:
            SocketFault: the wire was closed here.
        """
        try:
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            return bool(poll.poll(max(0.0, timeout_s) * 1000))
        except (OSError, ValueError) as fault:
            raise SocketFault("the connection is closed") from fault

    def close(self) -> None:
        """End the connection; whoever waits on it wakes with a SocketFault. Idempotent."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _exactly(self, count: int, deadline_s: float, *, begun: bool) -> bytes:
        octets = bytearray()
        while len(octets) < count:
            left = deadline_s - time.monotonic()
            if left <= 0:
                raise SocketFault(f"half a frame: {len(octets)} of {count} octets in {self._frame_s:g} s")
            try:
                self._sock.settimeout(left)
                part = self._sock.recv(count - len(octets))
            except TimeoutError:
                continue
            except OSError as fault:
                raise SocketFault(f"cannot receive: {fault}") from fault
            if not part:
                if begun or octets:
                    raise SocketFault(f"closed in the middle of a frame: {len(octets)} of {count} octets")
                raise PeerClosed("closed by the peer")
            octets += part
        return bytes(octets)


def peer_uid(sock: socket.socket) -> int:
    """User id of the process that made the connection, by the kernel's word (SO_PEERCRED, unix(7)).

    Raises:
        SocketFault: the kernel does not say.
    """
    try:
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError as fault:
        raise SocketFault(f"no peer credentials: {fault}") from fault
    return int(_UCRED.unpack(credentials)[1])


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0660 before anyone can connect, in place of a stale one.

    It is bound under another name, given its mode, and renamed: there is no moment at which the name is missing or
    open to others.

    Raises:
        SocketFault: the directory is missing, not ours, or the name too long for a Unix socket.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        fresh.unlink(missing_ok=True)
        sock.bind(str(fresh))
        fresh.chmod(0o660)
        sock.listen(_BACKLOG)
        fresh.replace(path)
    except OSError as fault:
        sock.close()
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise SocketFault(
            f"cannot listen: {fault}", place=str(path), cure="the directory must exist and be writable"
        ) from fault
    return sock


def connect(path: Path, *, timeout_s: float = 5.0, frame_s: float = 10.0) -> Wire:
    """A wire to the process that listens at `path`.

    Raises:
        SocketFault: nobody listens there, or we may not connect.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout_s)
        sock.connect(str(path))
    except OSError as fault:
        sock.close()
        raise SocketFault(f"nobody answers: {fault}", place=str(path), cure="is `dcu field` running?") from fault
    return Wire(sock, frame_s=frame_s)
