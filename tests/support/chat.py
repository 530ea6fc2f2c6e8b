"""Two clients in the room of chat_server at HOST PORT. Prints the lines that each of them received."""

import socket
import sys

address = (sys.argv[1], int(sys.argv[2]))


class Client:
    def __init__(self):
        self.socket = socket.create_connection(address, timeout=20)
        self.file = self.socket.makefile("r", encoding="utf-8", newline="\n")

    def send(self, line):
        self.socket.sendall(line.encode() + b"\n")

    def receive(self):
        print(self.file.readline().rstrip("\n"), flush=True)


ada = Client()
ada.receive()
ada.send("/nick ada")
ada.receive()
bob = Client()
bob.receive()
ada.receive()  # bob has joined
bob.send("/nick ada")
bob.receive()  # the name is in use
bob.send("/nick b\x1bob\r")
bob.receive()
ada.receive()
bob.send("/nick two words")
bob.receive()
bob.send("/who")
bob.receive()
bob.send("/help")
bob.receive()
ada.send("  hello, \x1b[1mGr\u00fc\u00dfe\ttoo\r")
bob.receive()
bob.send("")
bob.send("hello back")
ada.receive()
ada.send("/quit")
bob.receive()  # ada has left
ada.receive()  # the end of the stream
ada.socket.close()
