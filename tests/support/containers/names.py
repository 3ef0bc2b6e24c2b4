"""A name server whose first answers are lost, as they are where a network loses packets."""

from __future__ import annotations

import socket
import struct
from socketserver import BaseRequestHandler, UDPServer

from tests.support.serving import Serving

# An address of this machine alone, where nobody else answers. The port of a name server cannot be chosen.
ADDRESS = "127.53.53.53"
_PORT = 53
_HEADER = struct.Struct(">6H")
_IS_ANSWER = 0x8180
_IPV4 = 1


class LossyNames(Serving):
    """A context manager: every name is this machine's, and each question is answered when it is asked again.

    Attributes:
        lost: the questions whose first answers were lost.
    """

    def __init__(self) -> None:
        self.lost: set[bytes] = set()
        names = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                message, own = self.request
                question = message[_HEADER.size : message.index(0, _HEADER.size) + 5]
                if question not in names.lost:
                    names.lost.add(question)
                    return
                (kind,) = struct.unpack(">H", question[-4:-2])
                name_above = b"\xc0" + bytes([_HEADER.size])
                lifetime_and_length = struct.pack(">IH", 0, 4)
                address = name_above + question[-4:] + lifetime_and_length + socket.inet_aton("127.0.0.1")
                found = [address] if kind == _IPV4 else []
                (number,) = struct.unpack_from(">H", message)
                own.sendto(
                    _HEADER.pack(number, _IS_ANSWER, 1, len(found), 0, 0) + question + b"".join(found),
                    self.client_address,
                )

        super().__init__(UDPServer((ADDRESS, _PORT), Handler))
