"""Receiving from a socket, for the scripts in this folder."""


def receive_exactly(sock, length):
    """Less at the end of the stream. MSG_WAITALL returns less on a socket with a timeout too."""
    received = b""
    while len(received) < length:
        part = sock.recv(length - len(received))
        if not part:
            break
        received += part
    return received
