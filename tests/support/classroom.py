"""The Python counterparts of the small examples: classroom.py ROLE [HOST PORT] [WORD...].

A server prints its port, serves one client, and prints the received bytes in hexadecimal. A client
gets the address and its words as arguments, and prints each reply in hexadecimal."""

import socket
import sys

socket.setdefaulttimeout(20)


def listen(kind):
    server = socket.socket(socket.AF_INET, kind)
    server.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        server.listen()
    print(server.getsockname()[1], flush=True)
    return server


def accept():
    return listen(socket.SOCK_STREAM).accept()[0]


def serve(client, answer):
    while data := client.recv(1024):
        print(data.hex(), flush=True)
        if data == b"exit":
            break
        client.sendall(answer(data))
    client.close()


def echo_server():
    serve(accept(), lambda data: data)


def hello_server():
    client = accept()
    client.sendall(b"Welcome!")
    serve(client, lambda name: b"Hello, " + name + b"!")


def mute_server():
    """Receives one message and closes."""
    client = accept()
    print(client.recv(1024).hex(), flush=True)
    client.close()


def closing_server():
    accept().close()


def udp_server():
    server = listen(socket.SOCK_DGRAM)
    data, address = server.recvfrom(65535)
    print(data.hex(), flush=True)
    server.sendto(b"received", address)


def silent_udp_server():
    server = listen(socket.SOCK_DGRAM)
    print(server.recvfrom(65535)[0].hex(), flush=True)
    sys.stdin.read()


def echo_client(address, words):
    with socket.create_connection(address) as client:
        for word in words:
            client.sendall(word.encode())
            print(client.recv(1024).hex())


def hello_client(address, words):
    with socket.create_connection(address) as client:
        print(client.recv(1024).hex())
        for word in words:
            client.sendall(word.encode())
            print(client.recv(1024).hex())
        client.sendall(b"exit")
        print(client.recv(1024).hex())


def udp_client(address, words):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for word in words:
            client.sendto(word.encode(), address)
            print(client.recvfrom(65535)[0].hex())


role = globals()[sys.argv[1]]
if len(sys.argv) > 2:
    role((sys.argv[2], int(sys.argv[3])), sys.argv[4:])
else:
    role()
