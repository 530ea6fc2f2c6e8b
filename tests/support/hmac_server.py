"""A server of the plain form of `auth` for one client: KEY DIGEST.

Prints its port and sends 32 random bytes. After the right answer, it sends all received bytes back in
upper case. After a wrong answer, it prints `wrong`.
"""

import hmac
import os
import socket
import sys

from receiving import receive_exactly

key, digest = sys.argv[1:]

with socket.create_server(("127.0.0.1", 0)) as listener:
    listener.settimeout(20)
    print(listener.getsockname()[1], flush=True)
    client, _ = listener.accept()
    with client:
        client.settimeout(20)
        challenge = os.urandom(32)
        client.sendall(challenge)
        right = hmac.new(key.encode(), challenge, digest).digest()
        answer = receive_exactly(client, len(right))
        if hmac.compare_digest(answer, right):
            while data := client.recv(1024):
                client.sendall(data.upper())
        else:
            print("wrong")
