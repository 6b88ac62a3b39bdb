"""Many ask at once, while images come and go."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

from tests.support.finished import loaded
from tests.support.served import Client, served
from tests.view.web.conftest import APP, BASE, LAST
from veneer.engine.engine import Engine

STAYS = "/images/app:1"
OF_IT = (
    "", "/tree?path=/app", "/rollup?at=2", "/waste", "/labels", "/tags", "/history?path=/etc/os", "/findings",
    "/dockerfile",
)  # fmt: skip
ASKED = (
    "/images", "/compare?images=app:1,os:1", "/search?q=read.me", "/containers", "/diff?a=os:1&b=app:1",
    *(STAYS + of_it for of_it in OF_IT),
)  # fmt: skip
COMES_AND_GOES = ("/images/new:1", "/images/new:1/tree", "/compare?images=app:1,new:1", "/diff?a=app:1&b=new:1")


def test_everybody_is_answered_while_images_come_and_go(engine: Engine) -> None:
    loaded(engine, "os:1", BASE)
    loaded(engine, "app:1", BASE, APP, LAST)
    diff_id = str(engine.images.get("app:1").config.diff_ids[1])
    asked_of_all = (*ASKED, f"/layers/{diff_id}/images", f"/search?q={diff_id[7:20]}")
    over = Event()

    def ask(client: Client, seed: int) -> int:
        random, asked = Random(seed), 0
        while not over.is_set() or asked < 25:
            target = random.choice((*asked_of_all, *COMES_AND_GOES))
            got = client.send(f"/api/v1{target}")
            may_be_gone = target in COMES_AND_GOES
            assert got.status == 200 or (may_be_gone and got.status == 404), f"{target}: {got.status} {got.text}"
            asked += 1
        return asked

    def change() -> None:
        try:
            for number in range(6):
                loaded(engine, "new:1", {"n": b"%d" % number}, APP)
                engine.images.remove("new:1")
        finally:
            over.set()

    with served(engine) as client, ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, client, seed) for seed in range(5)]
        pool.submit(change).result()
        assert sum(each.result() for each in asking) >= 125
        assert {each["ref"] for each in client.ask("/images")} == {"app:1", "os:1"}
        assert client.ask(STAYS)["stored"] == 52_323
