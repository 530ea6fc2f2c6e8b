"""A server of framed messages for one client: framed_server.py FORMAT PIECE

Answers each message in upper case, PIECE bytes at a time (0: all at once). Then prints all received
bytes in hexadecimal.
"""

import socket
import struct
import sys

form, piece = sys.argv[1], int(sys.argv[2])

with socket.create_server(("127.0.0.1", 0)) as server:
    server.settimeout(20)
    print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
    connection, _ = server.accept()

received = b""
with connection, connection.makefile("rb") as stream:
    connection.settimeout(20)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while head := stream.read(struct.calcsize(form)):
        body = stream.read(struct.unpack(form, head)[0])
        received += head + body
        reply = body.decode().upper().encode()
        reply = struct.pack(form, len(reply)) + reply
        step = piece or len(reply)
        for start in range(0, len(reply), step):
            connection.sendall(reply[start : start + step])
print(received.hex())
