"""Python's own multiprocessing.connection.Listener for one client: KEY.

Prints its port, and sends each message back in upper case. Prints the name of the exception if it
refuses the client.
"""

import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener

with Listener(("127.0.0.1", 0), authkey=sys.argv[1].encode()) as listener:
    print(listener.address[1], flush=True)
    try:
        with listener.accept() as connection:
            while connection.poll(20):
                connection.send_bytes(connection.recv_bytes().upper())
    except AuthenticationError as error:
        print(type(error).__name__)
    except EOFError:
        pass
