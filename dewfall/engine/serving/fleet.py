"""One endpoint's replicas as the router sees them: who takes the next request, and what happens when one dies with it.

Why apart from the router: these are the rules of sending; the router only translates between HTTP and them.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from time import perf_counter, time

from dewfall.engine.serving import exposition, faults
from dewfall.engine.serving.answer import Answer, Room
from dewfall.engine.serving.capture import Exchange, Spool, is_sampled
from dewfall.engine.serving.connection import Pool, ReplicaGone, Reply
from dewfall.engine.serving.library import Library
from dewfall.engine.serving.ondemand import Desk
from dewfall.engine.serving.shadows import Copy, Shadows
from dewfall.engine.serving.shares import Turns
from dewfall.engine.serving.stock import Stock
from dewfall.engine.serving.table import LATENCIES_KEPT, CaptureRule, Counters, EndpointKey, Table, Variant
from dewfall.errors import AwsError

DEATHS = 2  # replicas that a request may lose before it is taken for the cause
STALE = 3  # kept-alive connections that turn out closed, per request
PING_SECONDS = 5.0  # AWS gives 2; a busy laptop needs more
PING_EVERY = 4.0
FAILED_PINGS = 4  # one after the other, until a replica is taken for lost
WAITING = 1024  # requests at a replica and in its queue; a further one is refused at once
WAIT_SECONDS = 15.0  # for a replica, when every one is down


class Fleet:
    """The replicas of one endpoint, their connections and counters. All methods but `busy`, `unhealthy` and `take_counters` belong to
    the loop."""

    def __init__(self, key: EndpointKey, spool: Spool | None = None, stock: Stock | None = None) -> None:
        self.key = key
        self._spool = spool
        self.table = Table(())
        self._turns: Turns[Variant] = Turns((), ())
        self._targeted: dict[str, Turns[Variant]] = {}
        self.is_special = False  # whether a variant needs more than one exchange with one container
        self.library = Library(stock)
        self._pools: dict[str, Pool] = {}
        self._counters: dict[tuple[str, str], Counters] = {}
        self._entries = itertools.count(1)
        self._checks: set[asyncio.Task[None]] = set()
        self._next_check = 0.0
        self._changed: list[asyncio.Future[None]] = []
        self.room = Room()
        self.shadows = Shadows(self)
        self._totals: dict[str, Counters] = {}
        self._desks: dict[str, Desk] = {}
        self.call_up: Callable[[str], None] = lambda variant: None  # asks for a replica of a variant that has none

    def desk(self, variant: str) -> Desk:
        """What is known of a serverless variant's requests; from any thread."""
        return self._desks.setdefault(variant, Desk())

    def take_over(self, table: Table) -> None:
        """Take over a table; replicas that were down get another chance."""
        every = (*table.variants, *((table.shadow.variant,) if table.shadow else ()))
        wanted = {part.id: part for variant in every for replica in variant.replicas for part in replica.parts}
        for name, pool in list(self._pools.items()):
            if name not in wanted or wanted[name].address != pool.address:
                pool.close()
                if not pool.outstanding or name in wanted:
                    del self._pools[name]
        for name, replica in wanted.items():
            self._pools.setdefault(name, Pool(replica.address, self._entries)).is_down = False
        self.table = table
        self.is_special = any(variant.special is not None for variant in table.variants)
        self.library.keep(wanted)
        self._take_turns(table.variants)
        self.shadows.take_over(table.shadow)
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)
        self._changed.clear()

    def adopt(self, table: Table) -> None:
        """Take over a table unless there is one."""
        if not self.table.variants:
            self.take_over(table)

    def retract(self, table: Table) -> None:
        """Forget a table, if it is still this one."""
        if self.table is table:
            self.take_over(Table(()))

    def _take_turns(self, variants: tuple[Variant, ...]) -> None:
        turns = Turns(variants, [variant.weight for variant in variants])
        turns.go_on_from(self._turns)
        self._turns, former = turns, self._targeted
        self._targeted = {}
        for name in dict.fromkeys(variant.name for variant in variants):
            same = [variant for variant in variants if variant.name == name]
            self._targeted[name] = Turns(same, [variant.share for variant in same])
            if name in former:
                self._targeted[name].go_on_from(former[name])

    def reachable(self) -> int:
        """How many replicas can take requests; from any thread."""
        return sum(not pool.is_down and not pool.closed for pool in list(self._pools.values()))

    def busy(self, replica: str) -> int:
        """Requests under way at a replica, also at one that has left the table."""
        pool = self._pools.get(replica)
        return pool.outstanding if pool else 0

    def take_counters(self) -> dict[tuple[str, str], Counters]:
        """What each variant did since the last call, by its name and endpoint configuration."""
        taken, self._counters = self._counters, {}
        for (name, _), counters in taken.items():
            self._totals[name] = exposition.added(self._totals.get(name), counters)
        return taken

    def totals(self) -> dict[str, Counters]:
        """What each variant did since the server's start."""
        found = dict(self._totals)
        for (name, _), counters in list(self._counters.items()):
            found[name] = exposition.added(found.get(name), counters)
        return found

    def under_way(self) -> dict[str, int]:
        """Requests by replica."""
        return {name: pool.outstanding for name, pool in list(self._pools.items())}

    def unhealthy(self) -> set[str]:
        """Replicas that have left too many pings unanswered."""
        return {name for name, pool in list(self._pools.items()) if pool.failed_pings >= FAILED_PINGS}

    def check(self) -> None:
        """Ping every replica, in the background, if the last time was some time ago."""
        now = asyncio.get_running_loop().time()
        if self._checks or now < self._next_check:
            return
        self._next_check = now + PING_EVERY
        for pool in self._pools.values():
            task = asyncio.ensure_future(pool.ping(PING_SECONDS))
            self._checks.add(task)
            task.add_done_callback(self._checks.discard)

    # ------------------------------------------------------------ sending

    async def exchange(
        self, request: bytes, body: bytes, target: str, *, begun: float, seconds: float, streamed: bool, chosen: Variant | None = None
    ) -> Answer:
        """Send a request to a replica, again to another one where that is safe; its answer, or AwsError. `chosen`: its turn was taken."""
        variant = chosen or self.variant(target)
        try:
            variant, answer, model_seconds = await self._send(variant, target, request, body, seconds, streamed)
        except AwsError as error:
            is_models = error.code == "ModelError"
            self.count(variant, 500 if is_models else error.status or 500, is_models=is_models)
            raise
        if 200 <= answer.status < 300:
            self.count(variant, 200, model_seconds, perf_counter() - begun - model_seconds)
            if streamed:
                self.follow(answer, request, body, model_seconds)
                return answer
            if self.table.capture is not None:
                self.capture(variant.name, request, body, answer)
            if self.table.shadow is not None:
                self.shadows.offer(request, body, 200, answer.body(), model_seconds)
            return answer
        text = answer.body()
        if streamed:
            parts = []
            while chunk := await answer.next_chunk():
                parts.append(chunk)
            text = b"".join(parts)
        if self.table.shadow is not None:
            self.shadows.offer(request, body, answer.status, text, model_seconds)
        self.count(variant, answer.status, model_seconds, perf_counter() - begun - model_seconds, is_models=True)
        raise faults.model_error(self.key, variant.container, answer.status, text, self.table.partition)

    def capture(self, variant: str, head: bytes, body: bytes, answer: Reply | Answer) -> None:
        """Have an answered request written down, if it is one of those to capture; `variant` says under whose name."""
        rule = self._sampled()
        if rule is not None:
            self._write_down(rule, variant, head, body, answer, answer.body())

    def follow(self, answer: Answer, head: bytes, body: bytes, seconds: float) -> None:
        """Capture a streamed answer and copy its request to the shadow, as soon as the client has all of it. `seconds`: until it began."""
        rule, is_copied = self._sampled(), self.shadows.is_turn()
        if rule is None and not is_copied:
            return

        def ended(whole: bytes | None) -> None:
            if rule is not None and whole is not None:
                self._write_down(rule, answer.variant, head, body, answer, whole)
            if is_copied:
                self.shadows.send(Copy(head, body, 200, whole, seconds, streamed=True))

        answer.keep(self.room, ended)

    def _sampled(self) -> CaptureRule | None:
        """The rule of data capture, if this request is one of those to capture."""
        rule = self.table.capture
        return rule if rule is not None and self._spool is not None and is_sampled(rule) else None

    def _write_down(self, rule: CaptureRule, variant: str, head: bytes, body: bytes, answer: Reply | Answer, whole: bytes) -> None:
        assert self._spool is not None
        self._spool.add(Exchange(self.key, variant, rule, head, body, answer.header(b"content-type") or b"", whole, time()))

    def release(self, pool: Pool) -> None:
        """A request has ended at this pool's replica."""
        pool.outstanding -= 1
        if pool.closed and not pool.outstanding:
            for name, known in list(self._pools.items()):
                if known is pool:
                    del self._pools[name]

    async def _send(
        self, variant: Variant, target: str, request: bytes, body: bytes, seconds: float, streamed: bool
    ) -> tuple[Variant, Answer, float]:
        loop = asyncio.get_running_loop()
        deaths = stale = 0
        avoid: Pool | None = None
        while True:
            pool = self.pool(variant, avoid)
            if pool is None:
                variant, pool = await self.someone(variant, target)
            if pool.outstanding >= WAITING:
                raise faults.overloaded(self.key)
            pool.enter()
            held = True
            try:
                connection = await pool.take()
                sent = perf_counter()
                reply = Reply(loop.create_future())
                connection.send(request, body, reply, streamed)
                timer = loop.call_later(seconds, _time_out, reply)
                try:
                    await reply.whole  # type: ignore[misc]
                except BaseException:
                    if connection.reply is reply:  # timed out, or the caller has left: the answer must not reach the next one
                        connection.abandon()
                    raise
                finally:
                    timer.cancel()
                held = not streamed
                return variant, Answer(self, variant, None if held else pool, connection, reply, loop.time() + seconds), perf_counter() - sent
            except ReplicaGone as gone:
                if gone.answered:
                    raise faults.broken(self.key, variant.container, self.table.partition) from None
                if gone.refused:
                    pool.is_down = True
                elif connection.used > 1 and stale < STALE:
                    stale += 1
                else:
                    deaths, avoid = deaths + 1, pool
                    if deaths >= DEATHS:
                        raise faults.broken(self.key, variant.container, self.table.partition) from None
            except TimeoutError:
                raise faults.timed_out(self.key, variant.container, self.table.partition) from None
            finally:
                if held:
                    self.release(pool)

    # ------------------------------------------------------------ choosing

    def variant(self, target: str) -> Variant:
        """The variant that TargetVariant names, else the one whose turn it is by weight. Raises AwsError where there is none."""
        if target:
            turns = self._targeted.get(target)
            if turns is None:
                raise faults.variant_not_found(self.key, target)
        else:
            turns = self._turns
        if len(turns.items) == 1:
            return turns.items[0]
        if not turns.total:
            raise faults.not_found(self.key)
        return turns.next()

    def pool(self, variant: Variant, avoid: Pool | None = None) -> Pool | None:
        """The replica with the fewest requests under way; equal ones take turns. None when all are down."""
        replicas = variant.replicas
        if len(replicas) == 1:
            pool = self._pools.get(replicas[0].id)
            return None if pool is None or pool.is_down or pool.closed else pool
        pools = [pool for replica in replicas if (pool := self._pools.get(replica.id)) and not pool.is_down and not pool.closed]
        if avoid in pools and len(pools) > 1:
            pools.remove(avoid)
        if not pools:
            return None
        return random.choice(pools) if variant.random_routing else min(pools, key=_burden)

    def pool_of(self, replica: str) -> Pool | None:
        """The connections to a replica, or to a further container of one, by its agent's id."""
        return self._pools.get(replica)

    async def someone(self, variant: Variant, target: str, seconds: float = 0.0) -> tuple[Variant, Pool]:
        """A replica of the variant in the table of now, or where it is gone, of another one; waits for a table that has one."""
        try:
            async with asyncio.timeout(seconds or WAIT_SECONDS):
                while True:
                    turns = self._targeted.get(variant.name)
                    found = turns.items if turns and (target or variant.weight) else self.table.variants
                    if not self.table.variants or (target and not turns):
                        raise faults.not_found(self.key)
                    for now in found:
                        pool = self.pool(now)
                        if pool is not None:
                            return now, pool
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._changed.append(waiter)
                    await waiter
        except TimeoutError:
            raise faults.unavailable(self.key) from None

    def count_unplaced(self, variant: Variant) -> None:
        """Count a request that no copy is there for."""
        self._counters.setdefault((variant.name, variant.config), Counters()).unplaced += 1

    def count(self, variant: Variant, status: int, model_seconds: float = -1.0, overhead: float = 0.0, *, is_models: bool = False) -> None:
        """Count a request of a variant by the status of its answer; latencies in seconds."""
        place = variant.name, variant.config
        counters = self._counters.get(place)
        if counters is None:
            counters = self._counters[place] = Counters()
        counters.invocations += 1
        if 400 <= status < 500:
            counters.client_errors += 1
        elif status >= 500:
            counters.server_errors += 1
        if is_models:
            counters.model_errors += 1
        if model_seconds >= 0 and len(counters.model_latencies) < LATENCIES_KEPT:
            counters.model_latencies.append(model_seconds * 1e6)
            counters.overheads.append(overhead * 1e6)


def _burden(pool: Pool) -> tuple[int, int]:
    return pool.outstanding, pool.last


def _time_out(reply: Reply) -> None:
    if reply.whole is not None and not reply.whole.done():
        reply.whole.set_exception(TimeoutError())
