"""Sends messages with logging.handlers.SysLogHandler over UDP, TCP, or a Unix socket.

Arguments: udp HOST PORT, tcp HOST PORT, or unix PATH."""

import logging
import logging.handlers
import socket
import sys

kind, *address = sys.argv[1:]
if kind == "unix":
    handler = logging.handlers.SysLogHandler(address[0], facility="local5")
else:
    sort = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    place = (address[0], int(address[1]))
    handler = logging.handlers.SysLogHandler(place, facility="local5", socktype=sort)

logger = logging.getLogger("shop")
logger.setLevel(logging.DEBUG)
logger.addHandler(handler)
logger.debug("plain")
handler.ident = "shop[42]: "
logger.info("Gr\u00fc\u00dfe: %d", 1)
handler.ident = "shop: "
logger.warning("escape \x1b[1m, tab\t, backslash \\, turned \u202e")
logger.error("")
logger.critical("1 2 3")
handler.close()
