"""A client of framed messages: framed_client.py HOST:PORT FORMAT PIECE MESSAGE...

Sends the bytes of all messages, PIECE bytes at a time (0: all at once), and prints each reply on a
line. It fails if the replies are not the messages in upper case.
"""

import socket
import struct
import sys

address, form, piece, *messages = sys.argv[1:]
host, port = address.rsplit(":", 1)


def frames(texts):
    data = [text.encode() for text in texts]
    return b"".join(struct.pack(form, len(part)) + part for part in data)


with socket.create_connection((host, int(port)), timeout=20) as connection:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sent = frames(messages)
    step = int(piece) or len(sent)
    for start in range(0, len(sent), step):
        connection.sendall(sent[start : start + step])
    connection.shutdown(socket.SHUT_WR)
    received = connection.makefile("rb").read()

expected = [message.upper() for message in messages]
assert received == frames(expected), received
print(*expected, sep="\n")
