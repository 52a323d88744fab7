"""The fixtures of the spool's tests: one spool a test, of each implementation."""

from __future__ import annotations

import pytest
from spool_helpers import LocalSpool, build_config, build_submission

from relay.config.model import Config

#: The modules that hold every backend to its contract; the others are about SQLite and the disk.
CONTRACT = {
    "test_conversations",
    "test_desk_contract",
    "test_desk_pages",
    "test_intake_contract",
    "test_outbox_contract",
    "test_reroute",
    "test_standby",
}
#: What only a spool on a disk has, by the name of the test.
LOCAL_ONLY = {
    "test_only_one_deliverer": "nodes of a fleet stand by, instead of ending",
    "test_a_ledger_with_too_many_records_forgets_the_oldest": "DynamoDB removes its records by itself",
    "test_finished_mail_goes_early_when_the_quota_is_near": "S3 has no end",
    "test_finished_mail_refuses_none": "S3 has no end",
    "test_finished_mail_goes_for_the_reserve_of_the_disk": "S3 has no end",
    "test_quota_refuses_before_it_is_passed": "S3 has no end",
    "test_reserve_of_free_space_is_kept": "S3 has no end",
    "test_mail_of_an_earlier_version_vouches_for_every_route": "the fleet has no earlier version",
    "test_same_mail_in_a_file_again_leaves_no_file": "its files have no name",
    "test_row_that_cannot_be_read_stops_no_search": "it has no rows",
    "test_reuse_of_a_message_id_makes_no_question_dearer": "it has no statements",
    "test_address_of_mail_that_ended_before_the_index": "the fleet has no earlier version",
    "test_address_leads_to_what_is_no_longer_kept": "its janitor goes by the time of ids: fleet/test_fleet_janitor",
    "test_finished_mail_expires_and_the_ledger_remembers": "the same",
    "test_a_retransmission_after_the_mail_has_gone_is_still_known": "the same",
    "test_start_after_the_clock_was_set_back": "its clock is that of AWS",
    "test_all_aged_entries_are_buried_in_one_sweep": "one step finds all",
    "test_pause_of_the_intake_is_seen": "a node sees it a second later, not when it is opened",
    "test_a_change_that_cannot_be_audited_is_not_made": "a trigger of SQLite refuses the row",
    "test_a_mail_put_in_by_hand_is_audited_with_its_commit": "a trigger of SQLite refuses the row",
    "test_rows_are_kept_for_a_year_and_never_change": "DynamoDB removes its records by itself",
    "test_many_drops_are_one_action": "drops by as many as SQLite's log should take at once",
    "test_contacts_since_an_instant_are_counted": "its leader tells them: fleet/test_fleet_pages",
    "test_what_is_shown_goes_with_the_mail": "it looks into files: fleet/test_fleet_pages",
    "test_the_spool_of_an_older_relay_is_listed": "the fleet has no earlier version",
    "test_what_is_shown_is_in_a_backup": "AWS backs its tables up",
    "test_the_audit_is_in_the_backup_and_a_restore_is_in_the_audit": "AWS backs its tables up",
}


def pytest_collection_modifyitems(items):
    """Leave the fleet out of what it does not have."""
    items[:] = [item for item in items if not is_left_out(item)]


def is_left_out(item):
    """Returns whether a test asks for a fleet, and is about the local spool alone."""
    call = getattr(item, "callspec", None)
    if call is None or call.params.get("spool") != "fleet":
        return False
    return item.module.__name__ not in CONTRACT or item.originalname in LOCAL_ONLY


@pytest.fixture
def config(tmp_path) -> Config:
    return build_config(tmp_path / "data")


@pytest.fixture(params=["local", pytest.param("fleet", marks=pytest.mark.system)])
async def spool(request, tmp_path):
    kind = LocalSpool if request.param == "local" else request.getfixturevalue("fleet_spool")
    spool = kind(tmp_path)
    yield spool
    await spool.close()


@pytest.fixture
def fleet_spool(ministack, monkeypatch):
    """The fleet's implementation over an emulator, to which the AWS chain leads."""
    from fleet_helpers import FleetSpool, environment

    for name, value in environment(ministack).items():
        monkeypatch.setenv(name, value)
    FleetSpool.url = ministack
    return FleetSpool


@pytest.fixture(scope="session")
def ministack(tmp_path_factory):
    """The URL of an emulator of DynamoDB and S3, in its own environment (`make system` sets it up)."""
    from fleet_helpers import run_ministack

    with run_ministack(tmp_path_factory.mktemp("ministack")) as url:
        yield url


@pytest.fixture
def intake(spool):
    return spool.open_intake()


@pytest.fixture
def outbox(spool, intake):
    return spool.open_outbox()


@pytest.fixture
def desk(spool, intake):
    return spool.open_desk()


@pytest.fixture
def put(intake):
    """Puts a mail unlike any other, or like what it is told; the spool id it got."""

    async def put(**like):
        receipt = await intake.put(build_submission(intake.new_id(), **like))
        return receipt.spool_id

    return put
