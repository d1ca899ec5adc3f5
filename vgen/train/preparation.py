"""Building what a run needs of its data before the first step: on all nodes at once, however long that takes."""

from __future__ import annotations

import itertools
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from vgen.errors import InputError, RunStopped, TryAgain
from vgen.train.distributed import Ranks
from vgen.train.objectives import Objective
from vgen.train.stop import Stop, StopAsked

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

BEAT = 10.0  # seconds between two signs of life of a rank
SILENT = 600.0  # seconds without one after which a rank counts as gone
POLL = 0.05, 2.0  # seconds between two looks at what other ranks have said, at first and at last
REFUSALS = {kind.__name__: kind for kind in (InputError, RunStopped, TryAgain, StopAsked)}
DONE, AGREED = "done", "agreed"
KEPT = "while data were prepared; what is prepared is kept: start the same command again"

_meetings = itertools.count()  # of this process; all ranks hold the same ones


def prepare_unless_stopped(objective: Objective[Any], ranks: Ranks, stop: Stop) -> bool:
    """`prepare`; False where this process was told to stop meanwhile, which `stop` then reports."""
    try:
        with stop.at_once():
            prepare(objective, ranks)
    except StopAsked:
        pass
    except (InputError, TryAgain):
        raise
    except Exception:  # of any type: what fails may do so since its workers, or another rank, were told to stop
        if not stop.soon():
            raise
    else:
        return True
    stop.report = "stopped while preparing; what is prepared is kept, and the same command goes on"
    return False


def prepare(objective: Objective[Any], ranks: Ranks) -> None:
    """`objective.prepare()` on all ranks: first on one rank of each node, all of those together, then on the others,
    which find everything made. The first ones use all GPUs of their nodes and share the work, as caches let several
    processes make what is missing.

    Ranks wait as long as the others live, by asking again and again: no call of gloo or NCCL is open meanwhile, so none
    of their timeouts can pass.

    Raises:
        InputError, RunStopped, StopAsked: on all ranks, what one of them met; RunStopped also where one has gone.
    """
    if ranks.world == 1:
        objective.prepare()
        return
    hosts = ranks.gather(socket.gethostname())
    firsts = [hosts.index(host) for host in dict.fromkeys(hosts)]
    others = [rank for rank in range(ranks.world) if rank not in firsts]
    with _Meeting(ranks.rank, hosts).held() as meeting, _one_speaks(ranks):
        for turn in (firsts, others):
            if ranks.rank in turn:
                objective.prepare()
                meeting.say(DONE)
            meeting.wait_for(DONE, turn)


class _Meeting:
    """Ranks that tell each other how their work ended, through the store by which they found each other.

    Args:
        rank: this one.
        hosts: of all ranks.
    """

    def __init__(self, rank: int, hosts: Sequence[str]) -> None:
        self._rank, self._hosts = rank, hosts
        self._name = f"vgen/preparation/{next(_meetings)}"
        self._store = dist.distributed_c10d._get_default_store()
        self._over = threading.Event()

    @contextmanager
    def held(self) -> Iterator[_Meeting]:
        """Around the work: its end waits for all ranks, and is the same for all."""
        own = self._store.clone()  # type: ignore[attr-defined]  # torch's stub leaves it out
        beat = threading.Thread(target=self._live, args=(own,), daemon=True)
        beat.start()
        everyone = range(len(self._hosts))
        try:
            try:
                yield self
            except BaseException as error:
                with suppress(RunStopped):  # where nobody is left to hear it
                    self.say(DONE, error)
                    self.say(AGREED, error)
                    self._leave()
                raise
            self.say(AGREED)
            try:
                self.wait_for(AGREED, everyone)
            except StopAsked:  # of this rank alone, perhaps, which has agreed already
                self.wait_for(AGREED, everyone)
        finally:
            self._over.set()
            beat.join()

    def _leave(self) -> None:
        """The store goes with rank 0, so that waits for a moment until the others have met the same end."""
        keys, late = [self._key(AGREED, rank) for rank in range(len(self._hosts))], time.monotonic() + 2 * POLL[1]
        while self._rank == 0 and time.monotonic() < late:
            with self._connected():
                if self._store.check(keys):
                    return
            time.sleep(POLL[0])

    def say(self, what: str, error: BaseException | None = None) -> None:
        """This rank's part is over, or what has ended it."""
        kind, line = type(error).__name__, str(error)
        if error is not None and kind not in REFUSALS:
            kind, line = RunStopped.__name__, f"rank {self._rank} on {self._hosts[self._rank]} has failed {KEPT}"
        with self._connected():
            self._store.set(self._key(what, self._rank), json.dumps(None if error is None else [kind, line]))

    def wait_for(self, what: str, others: Sequence[int]) -> None:
        """Waits until some ranks have said so; raises what has ended one of them."""
        left, pause = list(others), POLL[0]
        beats: dict[int, tuple[int, float]] = {}
        while True:
            left = [rank for rank in left if not self._said(what, rank)]
            for rank in left:
                with self._connected():
                    beat = self._store.add(self._key("beat", rank), 0)
                now = time.monotonic()
                if beats.setdefault(rank, (beat, now))[0] != beat:
                    beats[rank] = beat, now
                if now - beats[rank][1] > SILENT:
                    raise RunStopped(
                        f"rank {rank} on {self._hosts[rank]} gave no sign of life for {SILENT:.0f} s {KEPT}"
                    )
            if not left:
                return
            time.sleep(pause)
            pause = min(1.5 * pause, POLL[1])

    def _said(self, what: str, rank: int) -> bool:
        key = self._key(what, rank)
        with self._connected():
            if not self._store.check([key]):
                return False
            said = json.loads(self._store.get(key))
        if said:
            raise REFUSALS[said[0]](said[1])
        return True

    def _live(self, store: Store) -> None:
        """Signs of life, by a connection of their own."""
        with suppress(RuntimeError):  # the store is gone, which the work will notice
            store.add(self._key("beat", self._rank), 1)
            while not self._over.wait(BEAT):
                store.add(self._key("beat", self._rank), 1)

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RunStopped(f"rank 0 on {self._hosts[0]} has ended {KEPT}") from error

    def _key(self, what: str, rank: int) -> str:
        return f"{self._name}/{what}/{rank}"


@contextmanager
def _one_speaks(ranks: Ranks) -> Iterator[None]:
    """What all ranks would tell, rank 0 tells alone."""
    before = logging.root.manager.disable
    if not ranks.first:
        logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
