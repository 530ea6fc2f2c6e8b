"""A client of the plain form of `auth`: HOST PORT KEY DIGEST TEXT...

Answers the 32 random bytes with their HMAC, sends each text and prints each reply on a line. Prints
`closed` when the server has closed the connection.
"""

import hmac
import socket
import sys

from receiving import receive_exactly

host, port, key, digest, *texts = sys.argv[1:]

with socket.create_connection((host, int(port)), timeout=20) as sock:
    challenge = receive_exactly(sock, 32)
    sock.sendall(hmac.new(key.encode(), challenge, digest).digest())
    try:
        for text in texts:
            sock.sendall(text.encode())
            print(receive_exactly(sock, len(text.encode())).decode() or "closed")
    except ConnectionError:
        print("closed")
