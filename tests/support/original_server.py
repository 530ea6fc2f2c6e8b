"""A server that uses Python's socketserver, for comparisons.

    original_server.py lines      answers lines over TCP in upper case, and counts them at the end
    original_server.py wfile      answers a datagram with its length and upper case, in one reply
    original_server.py sendto     answers a datagram in upper case, also an empty one

Listens on a free port, prints "listening on HOST:PORT", and exits after one minute.
"""

import socketserver
import sys
import threading


class Lines(socketserver.StreamRequestHandler):
    timeout = 20

    def handle(self):
        count = 0
        for line in self.rfile:
            self.wfile.write(line.upper())
            count += 1
        self.wfile.write(b"%d lines\n" % count)


class Wfile(socketserver.DatagramRequestHandler):
    def handle(self):
        packet = self.rfile.read()
        self.wfile.write(b"%d:" % len(packet))
        self.wfile.write(packet.upper())


class Sendto(socketserver.BaseRequestHandler):
    def handle(self):
        packet, connection = self.request
        connection.sendto(packet.upper(), self.client_address)


KINDS = {
    "lines": (socketserver.ThreadingTCPServer, Lines),
    "wfile": (socketserver.ThreadingUDPServer, Wfile),
    "sendto": (socketserver.UDPServer, Sendto),
}

if __name__ == "__main__":
    kind, handler = KINDS[sys.argv[1]]
    with kind(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        print("listening on %s:%d" % server.server_address, flush=True)
        last_resort = threading.Timer(60, server.shutdown)
        last_resort.daemon = True
        last_resort.start()
        server.serve_forever()
