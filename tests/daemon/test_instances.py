"""Two instances in two Regions, each with a role of its own account, under one daemon."""

from __future__ import annotations

import http.server
import json
import re
import threading
import time
import uuid
from contextlib import contextmanager

import boto3
import pytest
from harness import Daemon, build_mail, send, until
from moto.server import ThreadedMotoServer

pytestmark = pytest.mark.process

FAR, NEAR = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
RATE, MAILS = 5, 15
CONFIG = f"""
[connect.instances."{FAR}"]
region = "us-west-2"
role_arn = "arn:aws:iam::111111111111:role/far"
requests_per_second = {RATE}
burst = 1
[connect.instances."{NEAR}"]
region = "eu-central-1"
role_arn = "arn:aws:iam::222222222222:role/near"
requests_per_second = {RATE}
burst = 1
[[routes]]
match = ["far@example.net"]
instance_id = "{FAR}"
[[routes]]
match = ["near@example.net"]
instance_id = "{NEAR}"
"""


@contextmanager
def connect_of_regions():
    """A Connect that throttles every call in us-west-2 and takes every call elsewhere, and its calls: the
    Region, the key that signed, and the instant.
    """
    calls = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            key, region = re.search(
                r"Credential=([^/]+)/\d+/([^/]+)/", self.headers["Authorization"]
            ).groups()
            calls.append((region, key, time.monotonic()))
            if region == "us-west-2":
                status, body = 429, {"Message": "Rate exceeded"}
            else:
                status, body = 200, {"ContactId": str(uuid.uuid4())}
            octets = json.dumps(body).encode()
            self.send_response(status)
            if status == 429:
                self.send_header("x-amzn-ErrorType", "ThrottlingException")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(octets)))
            self.end_headers()
            self.wfile.write(octets)

        def log_message(self, *_):
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()
        thread.join()


@pytest.fixture
def sts():
    """The URL of moto's STS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def test_a_throttled_instance_leaves_the_pace_of_another_unharmed(box, sts, tmp_path):
    """While one Region throttles every call of a full queue, mail for the other goes out at its own rate, and
    each call is signed as the role of its instance.
    """
    with connect_of_regions() as (url, calls):
        env = box.environ() | {
            "AWS_ENDPOINT_URL_CONNECT": url,
            "AWS_ENDPOINT_URL_STS": sts,
            "RELAY_DELIVER__CONCURRENCY": "4",
        }
        with Daemon(tmp_path, env=env, extra=CONFIG).start() as daemon:
            for number in range(MAILS):
                send(daemon.port, build_mail(number), to=["far@example.net"])
            until(lambda: sum(region == "us-west-2" for region, _, _ in calls) >= 4)
            for number in range(MAILS):
                send(daemon.port, build_mail(number), to=["near@example.net"])
            near = until(
                lambda: len(found := [each for each in calls if each[0] == "eu-central-1"]) >= MAILS and found
            )
    assert near[-1][2] - near[0][2] < 2 * MAILS / RATE
    assert len(near) == MAILS
    keys = {region: key for region, key, _ in calls}
    for region, role in (
        ("us-west-2", "111111111111:assumed-role/far"),
        ("eu-central-1", "222222222222:assumed-role/near"),
    ):
        who = boto3.client(
            "sts",
            region_name=region,
            endpoint_url=sts,
            aws_access_key_id=keys[region],
            aws_secret_access_key="any",
        )
        assert role in who.get_caller_identity()["Arn"]
