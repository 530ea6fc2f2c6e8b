"""Serves the files of the current folder over HTTP like `python3 -m http.server`."""

import http.server

server = http.server.ThreadingHTTPServer(
    ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
)
print("listening on 127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
