"""Python's own multiprocessing.connection.Client: HOST PORT KEY TEXT...

Sends each text, then a message of 1 MB, and prints the replies: the long one as its length. Prints
the name of the exception if the server does not let it in.
"""

import socket
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

host, port, key, *texts = sys.argv[1:]
socket.setdefaulttimeout(20)


def ask(connection, message):
    connection.send_bytes(message)
    if not connection.poll(20):
        sys.exit("no reply")
    return connection.recv_bytes()


try:
    with Client((host, int(port)), authkey=key.encode()) as connection:
        for text in texts:
            print(ask(connection, text.encode()).decode())
        reply = ask(connection, b"a" * 1_000_000)
        print(len(reply), set(reply) == set(b"A"))
except AuthenticationError as error:
    print(type(error).__name__)
