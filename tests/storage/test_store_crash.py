"""A writer may die at any moment: what it was told is stored stays, and the next one goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from storage_examples import a_night, a_study

from autotune.experiment.events import Sample
from autotune.storage.store import Store

DEATHS = 15

WRITER = """
import sys
sys.path.insert(0, {here!r})
from storage_examples import a_sample
from autotune.storage.store import Store
with Store.open({url!r}) as store:
    block = len(store.log("kitchen")) - 1
    print("ready", flush=True)
    while True:
        store.append("kitchen", a_sample(block), raw="words " * 500)
        print(block, flush=True)
        block += 1
"""


def test_a_writer_killed_at_any_moment_leaves_all_it_was_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'autotune.db'}"
    with Store.open(url) as store:
        store.enter(a_study())
        store.append("kitchen", a_night())
    moments = random.Random(7)
    code = WRITER.format(here=str(Path(__file__).parent), url=url)
    told = -1
    for _ in range(DEATHS):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        try:
            writer.wait(moments.uniform(0.0, 0.08))
        except subprocess.TimeoutExpired:
            writer.send_signal(signal.SIGKILL)
        lines = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        told = int(lines[-1]) if lines else told
        with Store.open(url) as store:
            samples = [event for event in store.log("kitchen") if isinstance(event, Sample)]
            blocks = [sample.key.block for sample in samples]
            assert blocks == list(range(len(blocks))), "nothing lost before it, nothing doubled"
            assert told <= blocks[-1] if blocks else told == -1
            assert not blocks or blocks[-1] <= told + 1, "at most the one that was on its way"
            assert all(store.raw("kitchen", sample.key) for sample in samples[-3:])
            told = blocks[-1] if blocks else -1
            assert store.summary("kitchen").samples == len(blocks)
    assert told > 20, "the writers were never alive long enough for this to mean anything"
