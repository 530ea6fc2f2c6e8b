"""A TLS server whose responses end in several ways.

tls_server.py CERTIFICATE KEY: prints its port. Each path has a different end:
/close-notify ends without a length and with close_notify, /no-close-notify without either, /short without
close_notify and before its length, /long without close_notify and after its length.
"""

import socket
import ssl
import sys

HEADS = {"/short": "Content-Length: 10\r\n", "/long": "Content-Length: 5\r\n"}

context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(*sys.argv[1:])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    plain, _ = listener.accept()
    plain.settimeout(20)
    try:
        client = context.wrap_socket(plain, server_side=True)
        received = b""
        while b"\r\n\r\n" not in received:
            received += client.recv(4096)
        path = received.split()[1].decode("ascii")
        client.sendall(f"HTTP/1.1 200 OK\r\n{HEADS.get(path, '')}\r\nhello".encode("ascii"))
        if path == "/close-notify":
            client.unwrap().close()
        else:
            socket.socket(fileno=client.detach()).close()
    except OSError:
        # A client that does not trust the certificate closes the connection during the handshake.
        # A client that has read enough does not answer the close_notify.
        pass
