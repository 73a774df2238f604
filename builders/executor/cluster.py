"""Workers of a Ray cluster, one engine in each, and the process that commits what they make.

Needs one installation and one path of the catalog on all nodes. A worker that dies (its node did,
or memory ran out) takes nothing with it but what it had not given yet: its items go back to the
feed, and another worker takes its place when the cluster has room.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from builders.executor import Batches, Found, Items, Work
from builders.executor.worker import Feed, Message, Worker
from builders.run import Notes
from dasd_data.catalog import Catalog
from dasd_data.errors import DataError, MissingExtraError, RemoteError, UsageError

try:
    import ray
    from ray.exceptions import RayActorError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise MissingExtraError("ray", "ray") from error

DEATHS = 3  # of one worker in a row, without a batch in between, that mean it is not the node
LOAD_SECONDS = 3_600.0  # for the first engine: hundreds of GB from a slow disk
LAST_SECONDS = 120.0  # for a step of an engine and the files of its last batch
WAIT_SECONDS = 1.0


class _Member:
    """One worker: its actor, and what it is at: loading, a stream of messages, or nothing."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.actor: Any = None
        self.loading: Any = None
        self.stream: Any = None
        self.name = ""  # in the feed; another for each stream
        self.deaths = 0

    @property
    def waited_for(self) -> Any:
        return self.loading if self.loading is not None else self.stream


class Cluster:
    """An `Executor` over a Ray cluster; close it at the end.

    `make` makes what a worker works with from a catalog: a run with its engine, or nothing. `what`
    is the first worker's, without the engine, and `same` what of it must be equal in all.
    `address` is that of a running cluster; without one it is RAY_ADDRESS, else a cluster of this
    machine that runs already or is started. `gpus` are those of one worker (a fraction shares
    one): 1 where the cluster has any; `workers` are as many as the cluster holds, unless given.

    Raises RemoteError where there is no cluster, UsageError where it holds no worker, and what
    `make` raises.
    """

    def __init__(
        self,
        catalog: Catalog,
        make: Callable[[Catalog], Any] | None = None,
        *,
        same: Callable[[Any], Any] = lambda what: None,
        address: str | None = None,
        workers: int | None = None,
        gpus: float | None = None,
    ) -> None:
        self._config = replace(catalog.config, catalog=catalog.path.absolute(), threads=1)
        self._make, self._same = make, same
        self._own = _connect(address)
        has_gpus = ray.cluster_resources().get("GPU", 0) > 0
        self.gpus = float(has_gpus) if gpus is None else gpus
        self.workers = workers or self._room()
        self._members = [_Member(i) for i in range(self.workers)]
        self._runs = 0
        for member in self._members:
            self._start(member)
        self.what: Any = None
        self._known = False
        end = time.monotonic() + LOAD_SECONDS
        while not self._known:
            for _ in self._loaded(WAIT_SECONDS):
                pass
            if not self._known and time.monotonic() > end:
                self.close()
                raise RemoteError(
                    f"no worker was ready within {LOAD_SECONDS:g} s: see `ray status` for what the "
                    "nodes hold, and lower --workers or --gpus-per-task"
                )

    def close(self) -> None:
        """End the workers; a cluster that was there before stays."""
        for member in self._members:
            ray.kill(member.actor)
        if self._own:
            ray.shutdown()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, function: Callable[[Any, Catalog], Found], catalog: Catalog) -> Found:
        """What a function gives in one worker."""
        member = next(m for m in self._members if m.loading is None)
        found: Found = _given(member.actor.call.remote(function))
        return found

    def run(self, work: Work, catalog: Catalog, items: Items, notes: Notes, shard: int) -> Batches:
        """The batches of the items' work, in files that are in no commit yet."""
        if not len(items):
            return
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        feed: Any = (
            ray.remote(Feed)
            .options(num_cpus=0, scheduling_strategy=here)
            .remote(items, shard, self.workers)
        )
        job = (ray.put(work), catalog.store.snapshot().snapshot_id, notes.run_id, notes.stage, feed)
        try:
            yield from self._all(job, feed, notes)
        except GeneratorExit:
            raise
        except BaseException:
            yield from self._last(feed, notes)
            raise
        finally:
            for member in self._members:
                member.stream = None
            ray.kill(feed)

    def _all(self, job: tuple[Any, ...], feed: Any, notes: Notes) -> Batches:
        """Keep every worker at work until nothing is left."""
        queued = 1
        while True:
            for member in self._members:
                if queued and member.waited_for is None:
                    self._runs += 1
                    member.name = f"{member.number}:{self._runs}"
                    member.stream = member.actor.run.remote(member.name, *job)
            if not queued and not any(m.stream for m in self._members):
                return
            for member in self._loaded(WAIT_SECONDS):
                told = yield from self._next(member, feed, notes)
                queued = queued if told is None else told
            yield None

    def _last(self, feed: Any, notes: Notes) -> Batches:
        """What the workers have done by now."""
        ray.get(feed.stop.remote())
        end = time.monotonic() + LAST_SECONDS
        while any(m.stream for m in self._members) and time.monotonic() < end:
            for member in self._loaded(WAIT_SECONDS):
                yield from self._next(member, feed, notes)

    def _next(self, member: _Member, feed: Any, notes: Notes) -> Any:
        """A worker's next message, as its batch; at its end, how many items nobody has taken."""
        try:
            message: Message = _given(next(member.stream))
        except StopIteration:
            member.stream = None
            return _given(feed.ended.remote(member.name))
        except RayActorError as error:
            member.stream = None
            notes.counts["workers lost"] += 1
            self._died(member, error)
            return _given(feed.died.remote(member.name))
        member.deaths = 0
        notes.counts.update(message.counts)
        yield message.batch
        feed.done.remote(member.name, message.batch.items)
        return None

    def _loaded(self, seconds: float) -> Iterator[_Member]:
        """The workers whose stream has something to give; takes up those that are loaded."""
        waiting = {m.waited_for: m for m in self._members if m.waited_for is not None}
        if not waiting:
            return
        found, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=0, fetch_local=False)
        if not found:
            found, _ = ray.wait(list(waiting), timeout=seconds, fetch_local=False)
        for reference in found:
            member = waiting[reference]
            if member.loading is None:
                yield member
                continue
            try:
                self._take_up(_given(member.loading))
                member.loading = None
            except RayActorError as error:
                self._died(member, error)

    def _take_up(self, what: Any) -> None:
        """Raises DataError where a worker's engine is another than the first one's."""
        if not self._known:
            self.what, self._known = what, True
        elif self._same(what) != self._same(self.what):
            raise DataError(
                "the workers' engines differ, so their values are not to be mixed: one is "
                f"{self._same(self.what)}, another {self._same(what)}; give all nodes the same "
                "model files, versions and --dtype"
            )

    def _start(self, member: _Member) -> None:
        kind = ray.remote(Worker).options(num_cpus=1, num_gpus=self.gpus, max_restarts=0)
        member.actor = kind.remote()
        member.loading = member.actor.load.remote(self._config, self._make)

    def _died(self, member: _Member, error: RayActorError) -> None:
        """Put another in its place. Raises DataError where one after the other dies."""
        ray.kill(member.actor)  # it may only be out of reach
        member.deaths += 1
        if member.deaths >= DEATHS:
            said = " ".join(str(error).split())[:300]
            raise DataError(
                f"{DEATHS} workers in a row died before they gave anything, the last with: {said}; "
                "where memory was short, take more per worker (fewer --workers) and run this again"
            )
        self._start(member)

    def _room(self) -> int:
        """How many workers the cluster holds."""
        there = ray.cluster_resources()
        kind, each = ("GPU", self.gpus) if self.gpus else ("CPU", 1.0)
        room = int(there.get(kind, 0) / each)
        if room < 1:
            raise UsageError(
                f"the cluster has {there.get(kind, 0):g} {kind}, and a worker takes {each:g}: "
                "start its nodes, or set --gpus-per-task and --workers"
            )
        return room


def _connect(address: str | None) -> bool:
    """Join a cluster, or start one; returns whether that was done here, and is to be undone."""
    if ray.is_initialized():
        return False
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as problem:
        said = " ".join(str(problem).split())[:300]
        raise RemoteError(
            f"no Ray cluster at {address or 'this machine'} ({said}): start one with "
            "`ray start --head`, or give another --ray-address"
        ) from None
    finally:
        for number, handler in before.items():  # Ray sets its own for SIGTERM
            signal.signal(number, handler)
    return True


def _given(answer: Any) -> Any:
    """What an actor answers. Raises what it raised, as it was raised there."""
    try:
        return ray.get(answer)
    except RayTaskError as error:
        raise error.cause from None
