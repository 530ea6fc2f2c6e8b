"""Python's socketserver: a thread for each connection."""

import socket
import socketserver


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := self.request.recv(8192):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 4096

    def handle_error(self, request, client_address):
        """A client that disconnects is no error of the server."""


with Server(("127.0.0.1", 0), Handler) as server:
    print("listening on {}:{}".format(*server.server_address), flush=True)
    server.serve_forever()
