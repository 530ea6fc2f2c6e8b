"""Two people in the room of chat_server at HOST PORT: says what each of them read, line by line."""

import socket
import sys

address = (sys.argv[1], int(sys.argv[2]))


class Person:
    def __init__(self):
        self.socket = socket.create_connection(address, timeout=20)
        self.file = self.socket.makefile("r", encoding="utf-8", newline="\n")

    def say(self, line):
        self.socket.sendall(line.encode() + b"\n")

    def hear(self):
        print(self.file.readline().rstrip("\n"), flush=True)


ada = Person()
ada.hear()
ada.say("/nick ada")
ada.hear()
bob = Person()
bob.hear()
ada.hear()  # bob has come
bob.say("/nick ada")
bob.hear()  # taken
bob.say("/nick b\x1bob\r")
bob.hear()
ada.hear()
bob.say("/nick two words")
bob.hear()
bob.say("/who")
bob.hear()
bob.say("/help")
bob.hear()
ada.say("  hello, \x1b[1mGr\u00fc\u00dfe\ttoo\r")
bob.hear()
bob.say("")
bob.say("hello back")
ada.hear()
ada.say("/quit")
bob.hear()  # ada has left
ada.hear()  # nothing: the end
ada.socket.close()
