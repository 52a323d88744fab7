"""The instances of Connect that contacts are started in, each with its Region, role, pace and limits.

Owns `[connect]` and its `instances`, and which of them share a quota. Never reads a file, the environment or
the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from relay.config.section import Section
from relay.config.words import (
    bare_id,
    check_bucket,
    check_extension,
    check_instance_id,
    check_prefix,
    fits,
    place_of_instance,
)
from relay.contact.limits import (
    ATTACHMENT_BYTES,
    ATTACHMENTS,
    DEFAULT_ATTACHMENTS,
    DEFAULT_BURST,
    DEFAULT_EXTENSIONS,
    DEFAULT_REQUESTS_PER_SECOND,
    TOTAL_BYTES,
)

InstanceId = Annotated[str, AfterValidator(check_instance_id)]
Extensions = tuple[Annotated[str, AfterValidator(check_extension)], ...]
check_region = fits(
    r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}", 'is no Region; write the name that AWS has for it, as in "eu-central-1"'
)
_check_role = fits(
    r"arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,576}",
    'is no role; write its ARN, as in "arn:aws:iam::123456789012:role/relay"',
)


class Quota(NamedTuple):
    """The owner of a quota of StartEmailContact, which AWS counts for each account and Region."""

    #: The account of the role; "" for that of the daemon's own credentials.
    account: str
    #: "" for the Region of the environment.
    region: str

    def at(self, home: Quota) -> Quota:
        """The quota as a daemon knows it whose own account and Region are those of `home`, "" for unknown."""
        account = "" if self.account == home.account else self.account
        return Quota(account=account, region=self.region or home.region)


#: The quota of a daemon that knows neither its account nor its Region.
UNKNOWN_HOME = Quota(account="", region="")


class InstanceS3(Section):
    """The bucket for the files of one instance; a key that is left out is that of `[s3]`."""

    bucket: Annotated[str, AfterValidator(check_bucket)] | None = None
    prefix: Annotated[str, AfterValidator(check_prefix)] | None = None
    region: Annotated[str, AfterValidator(check_region)] | None = None

    @model_validator(mode="after")
    def _whose(self) -> Self:
        if self.region and not self.bucket:
            raise ValueError(
                f'region = "{self.region}" is that of a bucket, and none is named; give bucket, too, or leave it out'
            )
        return self


class Instance(Section):
    """The settings of one instance; a key that is left out is that of `[connect]`."""

    region: Annotated[str, AfterValidator(check_region)] | None = None
    role_arn: Annotated[str, AfterValidator(_check_role)] | None = None
    requests_per_second: float | None = Field(default=None, gt=0, le=1_000)
    burst: int | None = Field(default=None, ge=1, le=1_000)
    max_attachments: int | None = Field(default=None, ge=0, le=ATTACHMENTS)
    max_attachment_bytes: int | None = Field(default=None, ge=1, le=ATTACHMENT_BYTES)
    allowed_extensions: Extensions | None = None
    s3: InstanceS3 = InstanceS3()

    @property
    def bucket_region(self) -> str | None:
        """The Region of the instance's own bucket: its own, else that of the instance. None for the Region of
        the environment, and for an instance without a bucket of its own.
        """
        return (self.s3.region or self.region) if self.s3.bucket else None

    @property
    def quota(self) -> Quota:
        """The quota that calls to this instance count against."""
        account = self.role_arn.split(":")[4] if self.role_arn else ""
        return Quota(account=account, region=self.region or "")


class Connect(Section):
    """The instance that contacts are started in, and the settings of others beside it."""

    instance_id: InstanceId
    requests_per_second: float = Field(default=float(DEFAULT_REQUESTS_PER_SECOND), gt=0, le=1_000)
    burst: int = Field(default=DEFAULT_BURST, ge=1, le=1_000)
    max_attachments: int = Field(default=DEFAULT_ATTACHMENTS, ge=0, le=ATTACHMENTS)
    max_attachment_bytes: int = Field(default=ATTACHMENT_BYTES, ge=1, le=ATTACHMENT_BYTES)
    max_total_bytes: int = Field(default=TOTAL_BYTES, ge=1, le=TOTAL_BYTES)
    allowed_extensions: Extensions = DEFAULT_EXTENSIONS
    timeout_seconds: float = Field(default=60.0, gt=0, le=600)
    discover: bool = False
    instances: dict[InstanceId, Instance] = Field(default_factory=dict)

    def find(self, instance_id: str) -> Instance:
        """The settings of an instance; those without any where it has no table.

        Its id and its ARN name the same instance, wherever which of them is written.
        """
        if instance_id in self.instances:
            return self.instances[instance_id]
        bare = bare_id(instance_id).lower()
        same = (each for key, each in self.instances.items() if bare_id(key).lower() == bare)
        return next(same, Instance())

    def adopt(self, instance_id: str) -> Connect:
        """A copy with the pace and the limits of an instance in place of the common ones.

        Returns itself for an instance without a table.
        """
        given = self.find(instance_id).model_dump(exclude={"region", "role_arn", "s3"}, exclude_none=True)
        return self.model_copy(update=given) if given else self

    def adopt_s3(self, instance_id: str) -> dict[str, Any]:
        """The keys of `[s3]` that an instance has values of its own for."""
        return self.find(instance_id).s3.model_dump(exclude={"region"}, exclude_none=True)


def torn_quotas(connect: Connect, named: Iterable[str], home: Quota) -> Iterator[str]:
    """The sentences for instances that share a quota, and give it different rates."""
    first: dict[Quota, str] = {}
    for instance_id in named:
        quota = connect.find(instance_id).quota.at(home)
        other = first.setdefault(quota, instance_id)
        mine, theirs = connect.adopt(instance_id), connect.adopt(other)
        if (mine.requests_per_second, mine.burst) != (theirs.requests_per_second, theirs.burst):
            yield (
                f'connect.instances."{instance_id}": {mine.requests_per_second:g} requests a second, burst '
                f"{mine.burst}, and {other} has {theirs.requests_per_second:g} and {theirs.burst} in the same "
                "account and Region, which have one quota; give both the same"
            )


def misplaced_instances(connect: Connect) -> Iterator[str]:
    """The sentences for tables whose Region or role is not that of the instance's ARN."""
    for instance_id, instance in connect.instances.items():
        region, account = place_of_instance(instance_id)
        name = f'connect.instances."{instance_id}"'
        if region and instance.region and region != instance.region:
            yield f'{name}.region = "{instance.region}": the ARN is of {region}; write that, or leave it out'
        if account and instance.quota.account and account != instance.quota.account:
            yield (
                f'{name}.role_arn = "{instance.role_arn}": the instance is of account {account}; '
                "name a role of that account"
            )
