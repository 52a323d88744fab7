"""A leader that reaches Connect no more, while another node does."""

from __future__ import annotations

import pytest
from chaos.fleet.verdict import judge, unfinished
from chaos.proxy import running_proxy
from fleet_helpers import run_ministack
from fleet_nodes import Nodes
from harness import build_mail, send, until
from sandboxes import fast_sandbox


@pytest.mark.long
@pytest.mark.timeout(700)
def test_leader_that_reaches_connect_no_more_gives_the_lead_away(tmp_path):
    """The way to Connect is cut for the leader alone: after three minutes the other node delivers, and the
    mail that had failed is one contact. Two nodes that are both cut off keep their leader.
    """
    (tmp_path / "ministack").mkdir()
    with (
        run_ministack(tmp_path / "ministack") as url,
        fast_sandbox() as box,
        running_proxy(box.connect_url) as way,
        running_proxy(box.connect_url) as other_way,
    ):
        fleet = Nodes(tmp_path, box, url, count=2, lease=10.0)
        first, second = fleet.nodes
        for node, proxy in ((first, way), (second, other_way)):
            node.env["AWS_ENDPOINT_URL_CONNECT"] = proxy.url
        try:
            fleet.start()
            assert until(fleet.leader, seconds=30) is first
            for proxy in (way, other_way):
                proxy.refuse(refusing=True)
            mail = build_mail("cut-off")
            send(second.port, mail)
            first.wait_for("delivery.attempted", outcome="deferred", seconds=60)
            # Nobody reaches Connect: for as long as a resignation takes nobody resigns.
            with pytest.raises(AssertionError, match="not within"):
                first.wait_for("fleet.resigned", seconds=215)
            other_way.refuse(refusing=False)
            line = first.wait_for("fleet.resigned", seconds=150)
            assert line["to"] == second.data_dir.parent.name
            second.wait_for("fleet.led", seconds=60)
            until(lambda: not unfinished(fleet.rows()), seconds=120)
            assert fleet.leader() is second
            for node in fleet.nodes:
                assert node.stop() == 0, node.log()
        finally:
            fleet.kill()
        judge(fleet, [mail])
