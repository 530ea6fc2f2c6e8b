"""A client of framed messages: framed_talk.py HOST:PORT FORMAT CUT MESSAGE...

Sends the messages as one run of bytes, CUT of them at a time (0: all at once), and prints each
reply on a line. Fails unless the replies are, byte for byte, the messages in upper case.
"""

import socket
import struct
import sys

address, form, cut, *messages = sys.argv[1:]
host, port = address.rsplit(":", 1)


def frames(texts):
    data = [text.encode() for text in texts]
    return b"".join(struct.pack(form, len(part)) + part for part in data)


with socket.create_connection((host, int(port)), timeout=20) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent = frames(messages)
    step = int(cut) or len(sent)
    for start in range(0, len(sent), step):
        connection.sendall(sent[start : start + step])
    connection.shutdown(socket.SHUT_WR)
    received = connection.makefile("rb").read()

expected = [message.upper() for message in messages]
assert received == frames(expected), received
print(*expected, sep="\n")
