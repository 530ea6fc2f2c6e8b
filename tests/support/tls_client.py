"""Sends data over TLS and reads it back: tls_client.py ADDRESS AUTHORITIES."""

import socket, ssl, sys
host, port = sys.argv[1].rsplit(":", 1)
context = ssl.create_default_context(cafile=sys.argv[2])
for size in (1, 1000, 100_000, 3_000_000):
    with socket.create_connection((host, int(port))) as plain:
        with context.wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as stream:
            data = bytes(i * 7 % 256 for i in range(size))
            received = bytearray()
            for at in range(0, size, 65_536):
                piece = data[at:at + 65_536]
                stream.sendall(piece)
                while len(received) < at + len(piece):
                    received += stream.recv(100_000)
            assert received == data
            # Both sides say that they end.
            stream.unwrap()
print("done")
