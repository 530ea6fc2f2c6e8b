"""Sends messages with smtplib: HOST PORT plain|starttls|tls CAFILE."""

import smtplib
import ssl
import sys
from email.message import EmailMessage

host, port, way, authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
if way == "tls":
    client = smtplib.SMTP_SSL(host, int(port), timeout=20, context=context)
else:
    client = smtplib.SMTP(host, int(port), timeout=20)
if way == "starttls":
    client.starttls(context=context)

with client:
    message = EmailMessage()
    message["Subject"] = "Gr\u00fc\u00dfe"
    message["From"] = "ada@example.com"
    message["To"] = "grace@example.com, till@example.org"
    message["Bcc"] = "secret@example.net"
    message.set_content(".\n..\n.dots\nand \u00fc\u4e2d\n", cte="8bit")
    assert client.send_message(message) == {}

    refused = client.sendmail("ada@example.com", ["a@example.com", "no address"], "second")
    assert list(refused) == ["no address"] and refused["no address"][0] == 501, refused

    try:
        client.sendmail("ada@example.com", "a@example.com", "x" * 20_000)
        raise AssertionError("it is too large")
    except smtplib.SMTPSenderRefused as error:
        assert error.smtp_code == 552, error
    # Without its size before it.
    client.ehlo_or_helo_if_needed()
    del client.esmtp_features["size"]
    try:
        client.sendmail("ada@example.com", "a@example.com", "x\n" * 10_000)
        raise AssertionError("it is too large")
    except smtplib.SMTPDataError as error:
        assert error.smtp_code == 552, error

    assert client.verify("a@example.com")[0] == 252
    client.sendmail("ada@example.com", "a@example.com", "third")
