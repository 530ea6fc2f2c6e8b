"""Sends log records to HOST PORT and prints the lines that a receiver should print.

With "usual" it uses logging.handlers.SocketHandler, which formats the message. With a number it uses a
handler that sends records with their arguments, in that pickle protocol."""

import datetime
import logging
import logging.handlers
import pickle
import struct
import sys

FITTING = [
    ("nothing to apply: 100%",),
    ("%s|%10s|%-10s|%.3s|%05s", "text", "right", "left", "cut off", "x"),
    ("%s %s %s %s", None, True, [1, "two", (3,)], {"a": {"b": b"\x00c"}}),
    ("%r %r %r %r", "it's", 'say "so"', "both ' and \"", "tab\tline\nback\\slash\x07\x9f"),
    ("%r %r %a", "Gr\u00fc\u00dfe \U0001f600", "\u200b\xa0", "\u00e9\u20ac\U0001f600"),
    ("%r %r %r", b"it's\n\xff", (), [{1}, set(), frozenset(), frozenset({2})]),
    ("%s %s %s %s", 0.1, 1e16, -0.0, 1.0),
    ("%s %s %s %s", 1e-05, 1.5e300, float("inf"), float("nan")),
    ("%d|%5d|%-5d|%05d|%+d|% d|%.3d", 1, 2, 3, -4, 5, 6, 7),
    ("%d %d %d %d %i %u %ld", 3.99, -0.5, 1e20, True, -1, 2, 3),
    ("%d %s %d", 2**70, -(2**70), -(2**63)),
    ("%d %s", 2**5000, -(2**5000)),
    ("%r %s %r", bytearray(b'\n\x00\xff'), bytearray(), [bytearray(b'a')]),
    ("%x %X %#x %#06x %x %x %o %#o", 255, 255, 255, 255, -255, 2**70, 8, 8),
    ("%f %.2f %8.2f|%-8.1f|%08.3f %.0f %f", 1.5, 2.675, 3.14159, 4.0, -5.5, 2.5, 3),
    ("%f %F %f %.1f", float("nan"), float("inf"), float("-inf"), 2**70),
    ("%(name)s is %(age)d, %(age)05.1f, 100%%", {"name": "Ada", "age": 36}),
    ("the whole dict: %s", {"a": 1, "b": 2}),
    ("%s%%", 100),
    ("percent %% stays without arguments %s",),
]

MISFITS = [
    ("%d", "text"),
    ("%s %s", "one"),
    ("%s", "one", "two"),
    ("%x", 1.5),
    ("%(missing)s", {"name": 1}),
    ("%(unclosed", {"name": 1}),
    ("%y", 1),
    ("%", 1),
    ("%*d", 5, 1),
    ("%2000d", 1),
    ("%99999999999999999999d", 1),
    ("%d", float("nan")),
]


class Raw(logging.handlers.SocketHandler):
    """A handler that sends the arguments unformatted."""

    protocol = 0

    def makePickle(self, record):
        data = pickle.dumps(record.__dict__, self.protocol)
        return struct.pack(">L", len(data)) + data


class Expect(logging.Handler):
    """A handler that prints the expected output of the receiver."""

    def emit(self, record):
        seconds, ms = divmod(int(record.created * 1000), 1000)
        time = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
        try:
            if (record.msg, record.args) in ODD:
                raise TypeError("the receiver does not format this")
            text = record.getMessage()
        except (TypeError, ValueError, KeyError):
            text = f"{record.msg} {record.args!r}"
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        text = text.replace("\n", "\n    ").replace("\x1b", "\\u{1b}")
        print(f"{time:%Y-%m-%dT%H:%M:%S}.{ms:03}Z {record.levelname} {record.name}: {text}")


# Python formats these arguments. The receiver does not, and prints the message unformatted.
ODD = [("%*d", (5, 1)), ("%2000d", (1,))]


def send(logger, handler, tell):
    logger.handlers = [Expect(), handler]
    tell()
    handler.close()


def tell_usual():
    logger.debug("fine")
    logger.info("%s is %d %% full", "disk", 93)
    logger.warning("two\nlines and an \x1b[1mescape\x1b[0m, Gr\u00fc\u00dfe")
    now = datetime.datetime.now()
    logger.error("extra", extra={"when": now, "since": now, "where": [1, {"x": 2}]})
    logger.error("many items", extra={"items": {str(n): str(-n) for n in range(20_000)}})
    try:
        1 / 0
    except ZeroDivisionError:
        logger.exception("failed with %r", "why")
    logger.critical("x" * 100_000)


def tell_table():
    for message, *arguments in FITTING + MISFITS:
        logger.info(message, *arguments)


host, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
logger = logging.getLogger("shop.till")
logger.setLevel(logging.DEBUG)
logger.propagate = False
logging.raiseExceptions = False
if kind == "usual":
    send(logger, logging.handlers.SocketHandler(host, port), tell_usual)
elif int(kind) <= pickle.HIGHEST_PROTOCOL:
    raw = Raw(host, port)
    raw.protocol = int(kind)
    send(logger, raw, tell_table)
