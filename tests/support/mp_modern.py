"""The protocol of multiprocessing.connection in Python 3.12 and later, for any Python version.

client HOST PORT KEY TEXT...: sends each text and prints the replies.
listener KEY: prints its port, and sends each message of one client back in upper case.
Both print `refused` if the other side does not have the key.
"""

import hmac
import os
import socket
import struct
import sys

from receiving import receive_exactly


def send(sock, message):
    sock.sendall(struct.pack("!i", len(message)) + message)


def receive(sock):
    """The next message, or None at the end of the stream."""
    header = receive_exactly(sock, 4)
    if not header:
        return None
    (length,) = struct.unpack("!i", header)
    return receive_exactly(sock, length)


def proof(key, challenge):
    return b"{sha256}" + hmac.new(key, challenge, "sha256").digest()


def challenge_peer(sock, key):
    challenge = b"{sha256}" + os.urandom(40)
    send(sock, b"#CHALLENGE#" + challenge)
    known = hmac.compare_digest(receive(sock), proof(key, challenge))
    send(sock, b"#WELCOME#" if known else b"#FAILURE#")
    return known


def answer_peer(sock, key):
    prefix, _, challenge = receive(sock).partition(b"#CHALLENGE#")
    assert prefix == b"" and challenge.startswith(b"{sha256}") and len(challenge) == 48
    send(sock, proof(key, challenge))
    return receive(sock) == b"#WELCOME#"


def client(host, port, key, *texts):
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        if not (answer_peer(sock, key.encode()) and challenge_peer(sock, key.encode())):
            return print("refused")
        for text in texts:
            send(sock, text.encode())
            print(receive(sock).decode())


def listener(key):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        print(server.getsockname()[1], flush=True)
        sock, _ = server.accept()
        with sock:
            sock.settimeout(20)
            if not (challenge_peer(sock, key.encode()) and answer_peer(sock, key.encode())):
                return print("refused")
            while (message := receive(sock)) is not None:
                send(sock, message.upper())


{"client": client, "listener": listener}[sys.argv[1]](*sys.argv[2:])
