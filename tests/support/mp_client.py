"""Python's own multiprocessing.connection.Client: HOST PORT KEY TEXT...

Sends each text and then a message of 1 MB, and prints the replies (only the length of the long one).
Prints the name of the exception if the server refuses the client.
"""

import socket
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

host, port, key, *texts = sys.argv[1:]
socket.setdefaulttimeout(20)


def exchange(connection, message):
    connection.send_bytes(message)
    if not connection.poll(20):
        sys.exit("no reply")
    return connection.recv_bytes()


try:
    with Client((host, int(port)), authkey=key.encode()) as connection:
        for text in texts:
            print(exchange(connection, text.encode()).decode())
        reply = exchange(connection, b"a" * 1_000_000)
        print(len(reply), set(reply) == set(b"A"))
except AuthenticationError as error:
    print(type(error).__name__)
