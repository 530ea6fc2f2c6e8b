"""Runs every command of the example kv_server with the package `redis`, in both protocols."""

import sys
import time

import redis

host, port = sys.argv[1], int(sys.argv[2])


def refused(call, error, text):
    try:
        call()
    except error as e:
        assert text in str(e), e
    else:
        raise AssertionError("nothing was refused")


def talk(r):
    assert r.flushall()
    assert r.ping() and r.echo("hello") == b"hello"
    assert r.set("a", "1") and r.get("a") == b"1" and r.get("none") is None
    assert r.set("a", "2", nx=True) is None and r.set("none", "2", xx=True) is None
    assert r.set("b", b"\0\r\n\xff", ex=100) and 90 <= r.ttl("b") <= 100
    assert r.set("c", "x", px=100000) and r.get("b") == b"\0\r\n\xff"
    assert r.ttl("a") == -1 and r.ttl("none") == -2
    assert r.incr("a") == 2 and r.exists("a", "b", "none") == 2
    assert r.mset({"d": 1, "e": 2}) and r.mget("d", "none", "e") == [b"1", None, b"2"]
    assert sorted(r.keys()) == [b"a", b"b", b"c", b"d", b"e"] and r.keys("[ab]") != []
    assert r.delete("d", "e", "none") == 2
    assert r.expire("a", 100) and not r.expire("none", 100) and 90 <= r.ttl("a") <= 100
    assert r.rpush("l", 1, 2, 3) == 3 and r.lpush("l", 0) == 4
    assert r.lrange("l", 0, -1) == [b"0", b"1", b"2", b"3"] and r.lrange("none", 0, -1) == []
    assert r.lpop("l") == b"0" and r.lpop("l", 2) == [b"1", b"2"] and r.lpop("none") is None
    assert r.info()["db0"]["keys"] == 4 and "used_memory" in r.info("memory")
    assert "get" in r.command() and r.command_count() > 20
    assert r.config_get("save") == {"save": ""}
    refused(lambda: r.get("l"), redis.ResponseError, "WRONGTYPE")
    refused(lambda: r.incr("c"), redis.ResponseError, "not an integer")
    refused(lambda: r.execute_command("GET"), redis.ResponseError, "wrong number of arguments")
    refused(lambda: r.execute_command("FLY"), redis.ResponseError, "unknown command")
    assert r.set("soon", 1, px=50)
    while r.exists("soon"):
        time.sleep(0.01)
    pipe = r.pipeline(transaction=False)
    for n in range(1000):
        pipe.set("n%d" % n, n).get("n%d" % n)
    assert pipe.execute() == [v for n in range(1000) for v in (True, b"%d" % n)]


for protocol in 2, 3:
    with redis.Redis(host, port, protocol=protocol, client_name="test") as client:
        talk(client)
with redis.Redis(host, port) as client:
    assert client.ping()
