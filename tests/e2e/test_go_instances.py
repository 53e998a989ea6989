"""The original bridge's routes for instances and media, and who is let in: a line for each route, status and group of
fields. `make contract` prints the lines.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from PIL import Image

from tests.support import samples
from tests.support.contract import PHONE, World, b64, contract_world, until

pytestmark = pytest.mark.engine

Found = dict[str, Any]
Rows = Mapping[str, Callable[[Found], tuple[object, object]]]
"""Lines of the contract: what there is and what there should be, from what a fixture has gathered."""

FOUR = ("instance_key", "connected", "logged_in", "phone_number")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with contract_world() as found:
        yield found


def check(rows: Rows, row: str, found: Found) -> None:
    there_is, there_should_be = rows[row](found)
    assert there_is == there_should_be


# --- create, connect, qr ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh(world: World) -> Found:
    """Create an instance and connect it; gather what each call answers, before and after."""
    created = world.api.post("/instance/create")
    key = created.json()["instance_key"]
    no_code = world.api.get(f"/instance/{key}/qr?wait_s=0")
    connected = world.api.post("/instance/connect", json={"instance_key": key})
    return {
        "key": key,
        "created": created,
        "no code": no_code,
        "connected": connected,
        "qr": [world.api.get(f"/instance/{key}/qr") for _ in range(2)],
        "status": world.api.get(f"/instance/{key}/status"),
    }


FRESH: Rows = {
    "POST /instance/create 200 status": lambda f: (
        (f["created"].status_code, f["created"].json()["status"]),
        (200, "instance_created"),
    ),
    "POST /instance/create instance_key is 32 lower-case hex characters": lambda f: (
        bool(re.fullmatch("[0-9a-f]{32}", f["key"])),
        True,
    ),
    "POST /instance/create message": lambda f: (bool(f["created"].json()["message"]), True),
    "GET /instance/{key}/qr 408 error": lambda f: (
        (f["no code"].status_code, bool(f["no code"].json()["error"])),
        (408, True),
    ),
    "POST /instance/connect 200 status qr_generated": lambda f: (
        (f["connected"].status_code, f["connected"].json()["status"]),
        (200, "qr_generated"),
    ),
    "POST /instance/connect instance_key": lambda f: (f["connected"].json()["instance_key"], f["key"]),
    "POST /instance/connect message": lambda f: (bool(f["connected"].json()["message"]), True),
    "GET /instance/{key}/qr 200 image/png of 256 pixels": lambda f: (
        (f["qr"][0].headers["content-type"], Image.open(io.BytesIO(f["qr"][0].content)).size),
        ("image/png", (256, 256)),
    ),
    "GET /instance/{key}/qr reading does not consume the code": lambda f: (
        (f["qr"][1].status_code, f["qr"][1].content),
        (200, f["qr"][0].content),
    ),
    "GET /instance/{key}/status of one that is not paired": lambda f: (
        {name: f["status"].json()[name] for name in FOUR},
        {"instance_key": f["key"], "connected": False, "logged_in": False, "phone_number": ""},
    ),
}


@pytest.mark.parametrize("row", FRESH)
def test_new(fresh: Found, row: str) -> None:
    check(FRESH, row, fresh)


# --- a paired one -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paired(world: World) -> Found:
    """Gather what the calls answer of an instance that is online, disconnected, and connected again."""
    found: Found = {"key": world.key}
    found["connected"] = world.post("/instance/connect")
    found["qr"] = world.api.get(f"/instance/{world.key}/qr")
    found["status"] = world.api.get(f"/instance/{world.key}/status").json()
    found["list"] = world.api.get("/instances").json()
    found["disconnected"] = world.api.post(f"/instance/{world.key}/disconnect").json()
    found["away"] = world.api.get(f"/instance/{world.key}/status").json()
    found["again"] = world.post("/instance/connect")
    until(lambda: world.state(world.key) == "online")
    return found


ONLINE = {"connected": True, "logged_in": True, "phone_number": PHONE}
PAIRED: Rows = {
    "POST /instance/connect 200 status already_connected": lambda f: (f["connected"]["status"], "already_connected"),
    "POST /instance/connect 200 status already_logged_in": lambda f: (f["again"]["status"], "already_logged_in"),
    "GET /instance/{key}/qr 200 status connected, message": lambda f: (
        (f["qr"].status_code, f["qr"].json()["status"], bool(f["qr"].json()["message"])),
        (200, "connected", True),
    ),
    "GET /instance/{key}/status 200 the four fields": lambda f: (
        {name: f["status"][name] for name in FOUR},
        {"instance_key": f["key"], **ONLINE},
    ),
    "GET /instances 200 instances, the four fields": lambda f: (
        [{name: one[name] for name in FOUR} for one in f["list"]["instances"] if one["instance_key"] == f["key"]],
        [{"instance_key": f["key"], **ONLINE}],
    ),
    "GET /instances 200 count": lambda f: (f["list"]["count"], len(f["list"]["instances"])),
    "POST /instance/{key}/disconnect 200 status, instance_key, message": lambda f: (
        (f["disconnected"]["status"], f["disconnected"]["instance_key"], bool(f["disconnected"]["message"])),
        ("disconnected", f["key"], True),
    ),
    "POST /instance/{key}/disconnect the session stays paired": lambda f: (
        (f["away"]["connected"], f["away"]["logged_in"]),
        (False, True),
    ),
}


@pytest.mark.parametrize("row", PAIRED)
def test_paired(paired: Found, row: str) -> None:
    check(PAIRED, row, paired)


# --- delete -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deleted(world: World) -> Found:
    """Pair an instance, let it receive a file, and delete it; gather what there was and what is left."""
    number = "4915100000009"
    key = world.paired(number)
    message_id = world.phone("/send", to=number, kind="image", file={"data": b64(samples.picture())})["message_id"]
    path = urlsplit(world.event("media_updated", key, message_id=message_id)["data"]["media_url"]).path
    jid = world.api.get(f"/instance/{key}").json()["jid"]
    found: Found = {
        "key": key,
        "file before": world.api.get(path).status_code,
        "rows before": world.session_rows(jid),
        "answer": world.api.delete(f"/instance/{key}"),
        "file": world.api.get(path).status_code,
        "status": world.api.get(f"/instance/{key}/status").status_code,
        "rows": world.session_rows(jid),
        "event": world.event("instance_deleted", key)["data"],
    }
    until(lambda: not world.sandbox.get(f"/phones/{number}").json()["devices"])
    found["devices"] = world.sandbox.get(f"/phones/{number}").json()["devices"]
    return found


DELETED: Rows = {
    "200 status, instance_key, message": lambda f: (
        (f["answer"].json()["status"], f["answer"].json()["instance_key"], bool(f["answer"].json()["message"])),
        ("deleted", f["key"], True),
    ),
    "the engine's rows of the session are gone": lambda f: (
        ({"whatsmeow_device.jid", "whatsmeow_sessions.our_jid"} <= f["rows before"].keys(), f["rows"]),
        (True, {}),
    ),
    "the media are gone": lambda f: ((f["file before"], f["file"]), (200, 404)),
    "the instance is unknown": lambda f: (f["status"], 404),
    "the phone lists no device": lambda f: (f["devices"], []),
    "event instance_deleted": lambda f: (f["event"]["instance_key"], f["key"]),
}


@pytest.mark.parametrize("row", DELETED)
def test_delete(deleted: Found, row: str) -> None:
    check(DELETED, row, deleted)


# --- unknown instances, and who is let in -----------------------------------------------------------------------------

NOBODY = "0" * 32
UNKNOWN = {
    "POST /instance/connect": {"instance_key": NOBODY},
    f"GET /instance/{NOBODY}/qr": None,
    f"GET /instance/{NOBODY}/status": None,
    f"POST /instance/{NOBODY}/disconnect": None,
    f"DELETE /instance/{NOBODY}": None,
}


@pytest.mark.parametrize("route", UNKNOWN)
def test_404_unknown_instance(world: World, route: str) -> None:
    method, path = route.split()
    answer = world.api.request(method, path, json=UNKNOWN[route])
    assert (answer.status_code, bool(answer.json()["error"])) == (404, True)


def test_connect_400_without_a_key(world: World) -> None:
    assert world.post("/instance/connect", 400, instance_key=None)["error"]


ROUTES = (
    *("POST /instance/create", "POST /instance/connect", "GET /instance/{key}/qr", "GET /instance/{key}/status"),
    *("GET /instances", "POST /instance/{key}/disconnect", "DELETE /instance/{key}"),
    *("POST /message/send", "POST /message/send-media", "POST /message/send-voice", "POST /message/send-location"),
    *("POST /message/send-contact", "POST /message/send-interactive"),
    *("POST /phone/validate", "POST /phone/test-exists", "POST /phone/lid-to-phone", "POST /webhook"),
)


@pytest.mark.parametrize("key", [None, "wrong"], ids=["no key", "wrong key"])
@pytest.mark.parametrize("route", ROUTES)
def test_401(world: World, route: str, key: str | None) -> None:
    method, path = route.replace("{key}", world.key).split()
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    answer = httpx2.request(method, f"{world.base_url}{path}", headers=headers, trust_env=False)
    assert (answer.status_code, bool(answer.json()["error"])) == (401, True)


# --- media ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(world: World) -> Found:
    """Receive a picture; gather what its path gives to whom."""
    sent = world.phone("/send", to=PHONE, kind="image", file={"data": b64(samples.picture())})["message_id"]
    told = world.event("image_received", message_id=sent)["data"]
    world.event("media_updated", message_id=sent)
    path = urlsplit(told["media_url"]).path
    stranger = httpx2.Client(base_url=world.base_url, trust_env=False)
    with stranger:
        return {
            "path": path,
            "key": world.key,
            "whole": world.api.get(path),
            "range": world.api.get(path, headers={"range": "bytes=2-5"}),
            "by its link": stranger.get(told["media_url"]).status_code,
            "stranger": stranger.get(path).status_code,
            "forged": stranger.get(told["media_url"].replace("sig=", "sig=x")).status_code,
            "other": world.api.get(f"/media/{world.key}/2020-01-01/1-none.jpg").status_code,
            "outside": world.api.get(f"/media/{world.key}/..%2f..%2fetc/passwd").status_code,
        }


PICTURE = samples.picture()
MEDIA: Rows = {
    "the path is /media/{key}/{UTC day}/{seconds}-{uuid}.{extension}": lambda f: (
        bool(re.fullmatch(rf"/media/{f['key']}/\d{{4}}-\d\d-\d\d/\d+-[0-9a-f-]{{36}}\.jpe?g", f["path"])),
        True,
    ),
    "200 the file": lambda f: (f["whole"].content, PICTURE),
    "200 Content-Type": lambda f: (f["whole"].headers["content-type"], "image/jpeg"),
    "206 a range": lambda f: ((f["range"].status_code, f["range"].content), (206, PICTURE[2:6])),
    "200 by its signed link, without a key": lambda f: (f["by its link"], 200),
    "401 without a key": lambda f: (f["stranger"], 401),
    "403 by a forged link": lambda f: (f["forged"], 403),
    "404 of no file": lambda f: (f["other"], 404),
    "404 outside of the folder": lambda f: (f["outside"], 404),
}


@pytest.mark.parametrize("row", MEDIA)
def test_media(file: Found, row: str) -> None:
    check(MEDIA, row, file)


def test_media_404_of_another_instance(world: World, file: Found) -> None:
    assert world.api.get(file["path"].replace(world.key, world.unpaired)).status_code == 404
