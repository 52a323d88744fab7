"""The accounts and roles of instances as `relay check` meets them: who can be assumed, and who shares a pace.

Owns these examinations. Asks STS, and nothing else of AWS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from relay.aws.clients import Clients
from relay.aws.errors import remote_call
from relay.check.finding import Finding, fail, ok, warn
from relay.config import Config
from relay.config.connect import Instance, Quota
from relay.errors import RemoteError

_PATIENCE_SECONDS = 20


async def examine_role(clients: Clients, instance: Instance) -> Finding | None:
    """Examine whether the role of an instance can be assumed. Returns None where it has no role.

    The client of the instance was made before.
    """
    role = clients.abroad.find_role(instance)
    if role is None:
        return None
    subject = f"role {instance.role_arn}"
    try:
        async with remote_call("aws", timeout_seconds=_PATIENCE_SECONDS):
            await role.get_frozen_credentials()
    except RemoteError as exc:
        return fail(
            subject, f"cannot be assumed: {exc.detail}; allow sts:AssumeRole, and name us in its trust policy"
        )
    return ok(subject, "can be assumed")


async def examine_quotas(clients: Clients, config: Config) -> AsyncIterator[Finding]:
    """Examine which instances share a quota, where there are several."""
    if not config.connect.instances:
        return
    has_roles = any(instance.role_arn for instance in config.connect.instances.values())
    account = await clients.abroad.own_account.find() if has_roles else ""
    if account is None:
        yield warn(
            "account",
            "STS does not say whose credentials ours are: a role of our own account would have a pace of its own",
        )
    home = Quota(account=account or "", region=str(clients.connect.meta.region_name))
    for sentence in config.torn_quotas(home):
        yield fail("pace", sentence)
    shared: dict[Quota, list[str]] = {}
    for instance_id in config.list_instances():
        shared.setdefault(config.connect.find(instance_id).quota.at(home), []).append(instance_id)
    for quota, instances in shared.items():
        pace = config.connect.adopt(instances[0])
        whose = f"account {quota.account}" if quota.account else "our own account"
        yield ok(
            f"pace of {whose} in {quota.region}",
            f"{pace.requests_per_second:g} requests a second, burst {pace.burst}, for {', '.join(instances)}",
        )
