"""What every Store must do. An implementation's test class inherits this and gives fixtures `store` and `clock`."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest

from dewfall.context import HandClock
from dewfall.engine.ports import AlreadyExists, Conflict, Key, Record, Store


def key(name: str, kind: str = "model", account: str = "000000000000", region: str = "us-east-1") -> Key:
    return Key(account, region, "sagemaker", kind, name)


def create(store: Store, *names: str, status: str = "", parent: str = "") -> None:
    with store.transaction() as tx:
        for name in names:
            tx.records.create(Record(key(name), {"ModelName": name}, status=status, parent=parent))


def names(store: Store, **how: object) -> list[str]:
    with store.reading() as tx:
        return [record.key.name for record in tx.records.list("000000000000", "us-east-1", "sagemaker", "model", **how)]  # type: ignore[arg-type]


def put(store: Store, name: str = "a", delay: float = 0.0, kind: str = "job") -> None:
    with store.transaction() as tx:
        tx.queue.put(kind, key(name), {"n": name}, delay=delay)


def break_off(store: Store) -> None:
    """A transaction that does a bit of everything and then raises."""
    with store.transaction() as tx:
        create(store, "a")
        assert names(store) == ["a"]
        tx.queue.put("job", key("a"))
        tx.outbox.put("t", "0", "r", {})
        raise RuntimeError


class StoreContract:
    """Each test is one sentence of the port."""

    # ------------------------------------------------------------ records

    def test_what_was_created_is_read_exactly(self, store: Store, clock: HandClock) -> None:
        document = {"At": clock.now(), "Bytes": b"\x00\xff", "List": [1, 2.5, None, {"ü": "\U0001f600"}]}
        with store.transaction() as tx:
            tx.records.create(Record(key("a"), document, status="Creating", parent="p"))
        with store.reading() as tx:
            record = tx.records.get(key("a"))
        assert record == Record(key("a"), document, "Creating", "p", clock.now(), clock.now(), 1)

    def test_a_key_is_taken_once(self, store: Store) -> None:
        create(store, "a")
        with pytest.raises(AlreadyExists):
            create(store, "a")

    def test_the_second_of_two_savers_conflicts(self, store: Store) -> None:
        create(store, "a")
        with store.transaction() as tx:
            first, second = tx.records.get(key("a")), tx.records.get(key("a"))
        assert first is not None
        assert second is not None
        with store.transaction() as tx:
            assert tx.records.save(first).version == 2
        with pytest.raises(Conflict), store.transaction() as tx:
            tx.records.save(second)

    def test_saving_what_was_deleted_conflicts(self, store: Store) -> None:
        create(store, "a")
        with store.transaction() as tx:
            record = tx.records.get(key("a"))
            assert record is not None
            assert tx.records.delete(key("a"))
            assert not tx.records.delete(key("a"))
        with pytest.raises(Conflict), store.transaction() as tx:
            tx.records.save(record)

    def test_saving_moves_modified_and_not_created(self, store: Store, clock: HandClock) -> None:
        create(store, "a")
        begun = clock.now()
        clock.move(begun + timedelta(hours=1))
        with store.transaction() as tx:
            record = tx.records.get(key("a"))
            assert record is not None
            saved = tx.records.save(record)
        assert (saved.created, saved.modified) == (begun, clock.now())

    def test_raising_rolls_everything_back_inner_transactions_too(self, store: Store) -> None:
        with pytest.raises(RuntimeError):
            break_off(store)
        assert (names(store), store.next_due(), store.take_messages(9)) == ([], None, [])

    def test_readers_see_a_snapshot(self, store: Store) -> None:
        create(store, "a")
        with store.reading() as tx:
            assert tx.records.get(key("a")) is not None
            writer = threading.Thread(target=create, args=(store, "b"))
            writer.start()
            writer.join(10)
            assert tx.records.get(key("b")) is None
        assert names(store) == ["a", "b"]

    def test_who_peeks_sees_the_last_commit(self, store: Store) -> None:
        assert store.peek(key("a")) is None
        create(store, "a", status="one")
        for status in ("two", "three"):
            assert store.peek(key("a")) is not None
            with store.transaction() as tx:
                record = tx.records.get(key("a"))
                assert record is not None
                record.status = status
                tx.records.save(record)
            seen = store.peek(key("a"))
            assert seen is not None
            assert seen.status == status
        with store.transaction() as tx:
            tx.records.delete(key("a"))
            assert tx.records.peek(key("a")) is None
            assert store.peek(key("a")) is None
        assert store.peek(key("a")) is None

    def test_who_peeks_sees_nothing_of_what_was_rolled_back(self, store: Store) -> None:
        create(store, "a", status="one")

        def change() -> None:
            with store.transaction() as tx:
                record = tx.records.get(key("a"))
                assert record is not None
                record.status = "two"
                tx.records.save(record)
                inside = tx.records.peek(key("a"))
                assert inside is not None
                assert inside.status == "two"
                raise RuntimeError

        with pytest.raises(RuntimeError):
            change()
        seen = store.peek(key("a"))
        assert seen is not None
        assert seen.status == "one"

    def test_lists_are_by_name_and_can_be_narrowed(self, store: Store) -> None:
        create(store, "b", "ab", "aa", status="InService", parent="p")
        create(store, "c", status="Failed")
        assert names(store) == ["aa", "ab", "b", "c"]
        assert names(store, prefix="a") == ["aa", "ab"]
        assert names(store, after="aa", limit=2) == ["ab", "b"]
        assert names(store, status="Failed") == ["c"]
        assert names(store, parent="p", prefix="a", limit=1) == ["aa"]

    def test_accounts_and_regions_are_apart_but_for_scans(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.records.create(Record(key("a"), {}, status="x"))
            tx.records.create(Record(key("a", account="111111111111"), {}, status="y"))
            tx.records.create(Record(key("a", region="eu-west-1"), {}, status="x"))
        assert names(store) == ["a"]
        with store.reading() as tx:
            assert len(list(tx.records.scan("sagemaker", "model"))) == 3
            assert len(list(tx.records.scan("sagemaker", "model", status="x"))) == 2

    # ------------------------------------------------------------ queue

    def test_due_rows_are_claimed_once_the_oldest_first(self, store: Store, clock: HandClock) -> None:
        put(store, "late", delay=5)
        put(store, "b", delay=1)
        put(store, "a")
        clock.move(clock.now() + timedelta(seconds=2))
        assert [task.key.name for task in store.claim(["job"], "me", 30, limit=9)] == ["a", "b"]
        assert store.claim(["job"], "other", 30) == []

    def test_other_kinds_are_not_claimed(self, store: Store) -> None:
        put(store, kind="other")
        assert store.claim(["job"], "me", 30) == []

    def test_a_lease_that_ran_out_is_free_and_attempts_count(self, store: Store, clock: HandClock) -> None:
        put(store)
        (first,) = store.claim(["job"], "dead", 30)
        clock.move(clock.now() + timedelta(seconds=31))
        (second,) = store.claim(["job"], "me", 30)
        assert (first.attempts, second.attempts) == (1, 2)
        assert not store.renew(first, "dead", 30)

    def test_a_renewed_lease_holds(self, store: Store, clock: HandClock) -> None:
        put(store)
        (task,) = store.claim(["job"], "me", 30)
        clock.move(clock.now() + timedelta(seconds=20))
        assert store.renew(task, "me", 30)
        clock.move(clock.now() + timedelta(seconds=20))
        assert store.claim(["job"], "other", 30) == []

    def test_leases_of_a_dead_node_can_be_freed(self, store: Store) -> None:
        put(store)
        store.claim(["job"], "node-1.7", 30)
        assert store.lead("loops", "node-1", 30)
        store.free_leases("node-")
        assert len(store.claim(["job"], "node-2.1", 30)) == 1
        assert store.lead("loops", "node-2", 30)

    def test_finishing_removes_or_releases(self, store: Store, clock: HandClock) -> None:
        put(store)
        (task,) = store.claim(["job"], "me", 30)
        store.finish(task, "me", delay=10, payload={"n": 2})
        assert store.next_due() == 10
        clock.move(clock.now() + timedelta(seconds=10))
        (again,) = store.claim(["job"], "me", 30)
        assert (again.payload, again.attempts) == ({"n": 2}, 1)
        store.finish(again, "me")
        assert store.next_due() is None

    def test_what_was_woken_meanwhile_is_due_again(self, store: Store) -> None:
        put(store)
        (task,) = store.claim(["job"], "me", 30)
        with store.transaction() as tx:
            tx.queue.wake("job", key("a"))
        store.finish(task, "me")
        assert store.next_due() == 0

    def test_who_has_lost_the_lease_finishes_nothing(self, store: Store, clock: HandClock) -> None:
        put(store)
        (task,) = store.claim(["job"], "slow", 30)
        clock.move(clock.now() + timedelta(seconds=31))
        store.claim(["job"], "me", 30)
        store.finish(task, "slow")
        assert store.next_due() == 30

    def test_putting_again_keeps_one_row(self, store: Store) -> None:
        put(store, delay=60)
        put(store)
        assert len(store.claim(["job"], "me", 30, limit=9)) == 1

    def test_removed_work_is_gone(self, store: Store) -> None:
        put(store)
        with store.transaction() as tx:
            tx.queue.remove("job", key("a"))
        assert store.next_due() is None

    # ------------------------------------------------------------ outbox, leases, listeners

    def test_messages_stay_in_order_until_dropped(self, store: Store) -> None:
        with store.transaction() as tx:
            for n in range(3):
                tx.outbox.put("t", "0", "r", {"n": n, "at": datetime(2025, 1, 1)})
        taken = store.take_messages(2)
        assert [message.body["n"] for message in taken] == [0, 1]
        store.drop_messages([taken[0].id])
        assert [message.body["n"] for message in store.take_messages(9)] == [1, 2]

    def test_one_leads_until_its_lease_runs_out(self, store: Store, clock: HandClock) -> None:
        assert store.lead("loops", "a", 30)
        assert not store.lead("loops", "b", 30)
        assert store.lead("loops", "a", 30)
        clock.move(clock.now() + timedelta(seconds=31))
        assert store.lead("loops", "b", 30)

    def test_listeners_hear_of_commits_and_of_nothing_else(self, store: Store) -> None:
        heard: list[set[str]] = []
        store.on_commit(lambda keys: heard.append({f"{key.kind}:{key.name}" for key in keys}))
        with pytest.raises(RuntimeError):
            break_off(store)
        with store.transaction() as tx:
            tx.records.create(Record(key("a"), {}))
            tx.queue.put("job", key("a"))
            tx.outbox.put("t", "0", "r", {})
        assert heard == [{"model:a", "queue:job", "outbox:t"}]
