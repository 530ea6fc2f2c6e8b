"""Runs twenty clients at once, and checks every answer of the server.

    many_clients.py echo  127.0.0.1:10000
    many_clients.py echo  /run/echo.sock
    many_clients.py upper 127.0.0.1:9999
    many_clients.py udp   127.0.0.1:9000

Prints "20 clients served", or fails with a traceback.
"""

import socket
import sys
from multiprocessing.pool import ThreadPool

CLIENTS = 20
TIMEOUT = 20


def connect(address):
    if address.startswith("/"):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(TIMEOUT)
        client.connect(address)
        return client
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), TIMEOUT)


def echo(address, number):
    """Fifty messages on one connection. The server ends the stream after the client has."""
    with connect(address) as client, client.makefile("rb") as replies:
        for i in range(50):
            message = f"client {number}, message {i} ".encode() * (i + 1)
            client.sendall(message)
            expect(message, replies.read(len(message)))
        client.shutdown(socket.SHUT_WR)
        expect(b"", replies.read())


def upper(address, number):
    """One message per connection."""
    for i in range(5):
        with connect(address) as client, client.makefile("rb") as replies:
            client.sendall(f"  client {number}, message {i}\n".encode())
            expect(f"CLIENT {number}, MESSAGE {i}".encode(), replies.read())


def udp(address, number):
    """Fifty datagrams. Each is answered before the next is sent."""
    host, port = address.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT)
        client.connect((host, int(port)))
        for i in range(50):
            message = f"client {number}, message {i} ".encode() * i
            client.send(message)
            expect(message, client.recv(65536))


def expect(expected, received):
    assert received == expected, f"{received[:80]!r} instead of {expected[:80]!r}"


if __name__ == "__main__":
    client, address = {"echo": echo, "upper": upper, "udp": udp}[sys.argv[1]], sys.argv[2]
    with ThreadPool(CLIENTS) as pool:
        pool.starmap(client, [(address, number) for number in range(CLIENTS)], chunksize=1)
    print(f"{CLIENTS} clients served")
