"""`Resolver`: what it remembers, and how look-ups that hang are contained."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Sequence
from textwrap import dedent

import anyio
import anyio.to_thread
import pytest

from anytrack_async.transport import dns
from anytrack_async.transport.dns import Address, Resolver, look_up, resolve
from tests.transport.conftest import Names

pytestmark = pytest.mark.asyncio

NEVER = 1e9


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def ips(resolver: Resolver, host: str = "a.test") -> list[str]:
    with anyio.fail_after(10):
        return [address.ip for address in await resolver.resolve(host)]


async def gather(*hosts: str, resolver: Resolver) -> list[Sequence[Address]]:
    return await asyncio.gather(*(resolver.resolve(host) for host in hosts))


# What is remembered


async def test_addresses_are_used_for_a_minute(names: Names):
    clock = Clock()
    resolver = Resolver(clock=clock, patience=NEVER)
    names.ips["a.test"] = ["192.0.2.1", "2001:db8::1", "192.0.2.1"]
    assert await ips(resolver) == ["192.0.2.1", "2001:db8::1"]
    names.ips["a.test"] = ["192.0.2.2"]

    clock.now += 59
    assert await ips(resolver) == ["192.0.2.1", "2001:db8::1"]
    clock.now += 1
    assert await ips(resolver) == ["192.0.2.2"]
    assert names.asked == ["a.test"] * 2


async def test_a_failure_is_repeated_for_a_second(names: Names):
    clock = Clock()
    resolver = Resolver(clock=clock)
    for _ in range(3):
        with pytest.raises(socket.gaierror, match="Name or service not known"):
            await ips(resolver)
    assert names.asked == ["a.test"]
    names.ips["a.test"] = ["192.0.2.1"]

    clock.now += 1
    assert await ips(resolver) == ["192.0.2.1"]


async def test_each_task_gets_an_error_of_its_own(names: Names):
    resolver = Resolver()
    errors = await asyncio.gather(*(ips(resolver) for _ in range(5)), return_exceptions=True)

    assert len({id(error) for error in errors}) == 5


async def test_old_addresses_are_used_for_a_day_if_a_new_look_up_fails(names: Names):
    clock = Clock()
    resolver = Resolver(clock=clock, patience=NEVER)
    names.ips["a.test"] = ["192.0.2.1"]
    await ips(resolver)
    del names.ips["a.test"]

    clock.now += 86_399
    assert await ips(resolver) == ["192.0.2.1"]
    assert names.asked == ["a.test"] * 2
    clock.now += 1
    with pytest.raises(socket.gaierror):
        await ips(resolver)


async def test_old_addresses_are_used_while_a_new_look_up_hangs(names: Names):
    clock = Clock()
    resolver = Resolver(clock=clock, patience=0)
    names.ips["a.test"] = ["192.0.2.1"]
    await ips(resolver)
    names.hang("a.test")
    names.ips["a.test"] = ["192.0.2.2"]

    clock.now += 60
    for _ in range(3):
        assert await ips(resolver) == ["192.0.2.1"]
    assert names.asked == ["a.test"] * 2
    names.release("a.test")
    await no_thread_left()
    assert await ips(resolver) == ["192.0.2.2"]
    assert names.asked == ["a.test"] * 2


async def no_thread_left() -> None:
    for thread in threading.enumerate():
        if thread.name == "anytrack-dns":
            await anyio.to_thread.run_sync(thread.join, 10)


async def test_the_memory_has_a_bound(names: Names):
    resolver = Resolver()
    for number in range(300):
        names.ips[f"{number}.test"] = ["192.0.2.1"]
        await ips(resolver, f"{number}.test")

    assert len(resolver._hosts) == 256


# Look-ups that hang


async def test_tasks_share_a_look_up(names: Names):
    resolver = Resolver()
    names.ips["a.test"] = ["192.0.2.1"]
    names.hang("a.test")
    tasks = [asyncio.create_task(ips(resolver)) for _ in range(10)]
    await names.all_asked("a.test")
    names.release("a.test")

    assert await asyncio.gather(*tasks) == [["192.0.2.1"]] * 10
    assert names.asked == ["a.test"]


async def test_tasks_of_several_event_loops_share_a_look_up(names: Names):
    resolver = Resolver()
    names.ips["a.test"] = ["192.0.2.1"]
    names.hang("a.test")
    here = asyncio.create_task(ips(resolver))
    await names.all_asked("a.test")
    joined = anyio.Event()
    loop = asyncio.get_running_loop()

    async def elsewhere() -> list[str]:
        task = asyncio.create_task(ips(resolver))
        await anyio.wait_all_tasks_blocked()
        loop.call_soon_threadsafe(joined.set)
        return await task

    there = asyncio.create_task(anyio.to_thread.run_sync(asyncio.run, elsewhere()))
    await joined.wait()
    names.release("a.test")

    assert await asyncio.gather(here, there) == [["192.0.2.1"]] * 2
    assert names.asked == ["a.test"]


async def test_a_cancelled_task_waits_no_longer_and_leaves_the_look_up_to_others(names: Names):
    resolver = Resolver()
    names.ips["a.test"] = ["192.0.2.1"]
    names.hang("a.test")
    stays = asyncio.create_task(ips(resolver))
    await names.all_asked("a.test")
    for _ in range(3):
        with anyio.move_on_after(0.01) as scope:
            await resolver.resolve("a.test")
        assert scope.cancelled_caught
    lookup = resolver._hosts["a.test"].lookup
    assert lookup is not None
    assert len(lookup.waiters) == 1
    names.release("a.test")

    assert await stays == ["192.0.2.1"]


async def test_a_look_up_whose_event_loop_is_closed_holds_up_no_other(names: Names):
    resolver = Resolver(max_threads=1)
    names.ips |= {"a.test": ["192.0.2.1"], "b.test": ["192.0.2.2"]}
    names.hang("a.test")

    def leave() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(resolver.resolve("a.test"))
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False
        loop.close()

    await anyio.to_thread.run_sync(leave)
    waits = asyncio.create_task(ips(resolver, "b.test"))
    await names.all_asked("a.test")
    names.release("a.test")

    assert await waits == ["192.0.2.2"]


async def test_hosts_beyond_the_threads_wait_for_one(names: Names):
    resolver = Resolver(max_threads=2)
    hosts = [f"{number}.test" for number in range(6)]
    names.ips |= {host: ["192.0.2.1"] for host in hosts}
    for host in hosts[:2]:
        names.hang(host)
    tasks = [asyncio.create_task(ips(resolver, host)) for host in hosts]
    await names.all_asked(*hosts[:2])
    await anyio.wait_all_tasks_blocked()
    assert len(names.asked) == 2
    names.release(hosts[1])

    assert await asyncio.gather(*tasks[1:]) == [["192.0.2.1"]] * 5
    assert not tasks[0].done()
    names.release(hosts[0])
    await tasks[0]
    await no_thread_left()
    assert not resolver._running


async def test_when_all_threads_hang_the_error_says_so(names: Names):
    clock = Clock()
    resolver = Resolver(clock=clock, max_threads=2)
    names.ips |= {host: ["192.0.2.1"] for host in ("a.test", "b.test", "c.test", "d.test")}
    names.hang("a.test")
    names.hang("b.test")
    tasks = [asyncio.create_task(ips(resolver, host)) for host in ("a.test", "b.test", "c.test")]
    await names.all_asked("a.test", "b.test")

    clock.now += 5
    for host in ("c.test", "d.test"):  # c.test is already in the queue
        with pytest.raises(OSError, match=f"cannot look up {host}: the look-ups of 2 other hosts"):
            await ips(resolver, host)
    names.release_all()
    assert await asyncio.gather(*tasks) == [["192.0.2.1"]] * 3
    assert await ips(resolver, "d.test") == ["192.0.2.1"]


async def test_without_a_thread_the_error_says_so(names: Names, monkeypatch: pytest.MonkeyPatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = Resolver()
    names.ips["a.test"] = ["192.0.2.1"]
    with monkeypatch.context() as patch:
        patch.setattr(dns.Thread, "start", refuse)
        with pytest.raises(OSError, match=r"a\.test: no thread can be started"):
            await resolver.resolve("a.test")

    assert await ips(resolver) == ["192.0.2.1"]


async def run_python(code: str) -> None:
    with anyio.fail_after(60):
        await anyio.run_process([sys.executable, "-c", dedent(code)], stderr=None)


async def test_a_process_ends_while_a_look_up_hangs():
    await run_python("""
        import asyncio, socket, threading
        from anytrack_async.transport.dns import resolve
        socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
        async def main():
            try:
                await asyncio.wait_for(resolve("a.test"), 0.05)
            except TimeoutError:
                return
            raise AssertionError
        asyncio.run(main())
    """)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
async def test_a_forked_process_looks_up_hosts_whatever_its_parent_was_doing():
    await run_python("""
        import asyncio, os, socket
        from anytrack_async.transport import dns
        socket.getaddrinfo = lambda *_, **__: [(socket.AF_INET, 1, 6, "", ("192.0.2.1", 0))]
        with dns._shared._lock:
            if not (child := os.fork()):
                asyncio.run(dns.resolve("a.test"))
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    """)


# The operating system's answers


@pytest.mark.parametrize(
    ("host", "family"), [("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6)]
)
async def test_an_ip_address_needs_no_look_up(host: str, family: int, names: Names):
    assert await resolve(host) == (Address(socket.AddressFamily(family), host),)
    assert names.asked == []


async def test_link_local_addresses_have_their_scope(monkeypatch: pytest.MonkeyPatch):
    found = [(socket.AF_INET6, 1, 6, "", ("fe80::1%eth0", 0, 0, 2))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    assert look_up("a.test") == (Address(socket.AF_INET6, "fe80::1%2"),)


async def test_addresses_of_a_family_that_python_lacks_are_no_addresses(
    monkeypatch: pytest.MonkeyPatch,
):
    found = [(socket.AF_INET6, 1, 6, "", (10, b"\0" * 16))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    with pytest.raises(socket.gaierror, match="no usable address"):
        look_up("a.test")


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..invalid"])
async def test_a_name_that_cannot_exist_is_an_error_of_dns(host: str):
    with pytest.raises(socket.gaierror):
        await anyio.to_thread.run_sync(look_up, host)
