"""Python's http.server for the files of a folder, over TLS if a certificate is given.

http_server.py FOLDER [CERTIFICATE KEY]: prints its port. Under /echo it answers with the
parsed request as JSON, and sets two cookies.
"""

import http.cookies
import http.server
import json
import ssl
import sys
import urllib.parse


class Handler(http.server.SimpleHTTPRequestHandler):
    timeout = 20

    def __init__(self, *args):
        super().__init__(*args, directory=sys.argv[1])

    def do_GET(self):
        if self.path.startswith("/echo"):
            self.echo("")
        else:
            super().do_GET()

    def do_POST(self):
        assert self.headers["Content-Type"] == "application/x-www-form-urlencoded"
        self.echo(self.rfile.read(int(self.headers["Content-Length"])).decode("ascii"))

    def echo(self, form):
        url = urllib.parse.urlsplit(self.path)
        cookies = http.cookies.SimpleCookie(self.headers["Cookie"])
        understood = {
            "method": self.command,
            "path": urllib.parse.unquote(url.path),
            "query": urllib.parse.parse_qsl(url.query),
            "form": urllib.parse.parse_qsl(form),
            "cookies": {name: cookie.value for name, cookie in cookies.items()},
            "host": self.headers.get_all("Host"),
            "connection": self.headers["Connection"],
        }
        self.send_response(200)
        self.send_header("Set-Cookie", "session=42; Path=/; HttpOnly")
        self.send_header("Set-Cookie", "theme=dark")
        self.end_headers()
        self.wfile.write(json.dumps(understood).encode("ascii"))

    def log_message(self, *args):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 2:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*sys.argv[2:])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
