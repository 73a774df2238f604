"""Servers without a model, in a thread of this process."""

from __future__ import annotations

import asyncio
import threading

import pytest


@pytest.fixture
def start():
    """start(fake): serve a `FakeServer`; its URL without the scheme. Its faults can be looked at."""
    loop, servers = asyncio.new_event_loop(), []
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def serve(fake):
        server = asyncio.run_coroutine_threadsafe(fake.serve(), loop).result(timeout=20)
        servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    yield serve
    asyncio.run_coroutine_threadsafe(_ended(servers), loop).result(timeout=20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def _ended(servers):
    for server in servers:
        server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
