"""The stack of a fleet: its table is the relay's, its role the one that docs/fleet.md asks for, and nothing
in it may remove mail that is owed.
"""

from __future__ import annotations

import re
import tomllib

import yaml
from deploy.test_deploy_files import ANSWERS, DEPLOY, ROOT, STACK, Loader, actions_of

from relay.config.load import read_values
from relay.setup.advice import build_policy
from relay.spool.fleet.tables import EXPIRES, build_definition
from relay.telemetry.emf import DIMENSION, NAMESPACE, SOURCES

FLEET = yaml.load((DEPLOY / "aws" / "fleet.yaml").read_text(), Loader)["Resources"]
DOCUMENT = (ROOT / "docs" / "fleet.md").read_text()
_TEXT = FLEET["Task"]["Properties"]["ContainerDefinitions"][0]


def statements():
    (policy,) = FLEET["TaskRole"]["Properties"]["Policies"]
    return {each["Sid"]: each for each in policy["PolicyDocument"]["Statement"]}


def test_table_is_the_one_that_the_relay_makes():
    """Keys, indexes and their attributes are those of the code: a missing one would show no mail."""
    table = FLEET["Table"]["Properties"]
    wanted = build_definition("relay-spool")
    for part in ("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "BillingMode"):
        assert table[part] == wanted[part], part


def test_table_is_hard_to_lose():
    """It stays when the stack goes, cannot be deleted by one call, and can be had back as it was; only what
    has the attribute for it expires.
    """
    table = FLEET["Table"]["Properties"]
    assert FLEET["Table"]["DeletionPolicy"] == FLEET["Table"]["UpdateReplacePolicy"] == "Retain"
    assert table["DeletionProtectionEnabled"] is True
    assert table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    assert table["TimeToLiveSpecification"] == {"AttributeName": EXPIRES, "Enabled": True}


def test_no_lifecycle_rule_reaches_the_spool():
    """Raw mail is removed by the relay: a rule for its prefix ends earlier versions alone."""
    bucket = FLEET["Bucket"]["Properties"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    for rule in bucket["LifecycleConfiguration"]["Rules"]:
        if "spool/".startswith(rule["Prefix"]) or rule["Prefix"].startswith("spool/"):
            assert not {"ExpirationInDays", "ExpirationDate", "Transitions"} & rule.keys()


#: The rights by which a table is made, which no node has.
MAKING = {"CreateTable", "UpdateTable", "UpdateTimeToLive", "UpdateContinuousBackups"}


def test_role_may_do_what_the_document_says_and_no_more():
    """Each right that docs/fleet.md names for nodes and commands is there, on the table, its indexes and the
    prefix alone.
    """
    told = DOCUMENT.partition("A node needs these rights:")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(?:dynamodb:|s3:)?([A-Z]\w+)`", told)) - MAKING
    objects = {word for word in named if "Object" in word or "Bucket" in word or "Lifecycle" in word}
    rights = statements()
    assert actions_of([rights["Table"]]) == {f"dynamodb:{word}" for word in named - objects}
    assert actions_of([rights[name] for name in ("Spool", "List", "Check")]) == {
        f"s3:{word}" for word in objects
    }
    assert rights["Table"]["Resource"] == ["Table.Arn", "${Table.Arn}/index/*"]
    assert rights["Spool"]["Resource"].endswith("/spool/*")
    wanted = actions_of(build_policy(ANSWERS, prefix="mail/")["Statement"])
    assert actions_of([rights[name] for name in ("Contacts", "Instance", "Files")]) == wanted


def test_configuration_is_one_that_the_relay_takes():
    """The nodes' file is read, names the table and the prefix of the role, and each node has its own name."""
    (text,) = [each["Value"] for each in _TEXT["Environment"] if each["Name"] == "CONFIGURATION"]
    values = {
        "Hostname": "mx1.example.com",
        "BucketName": "example-mail",
        "TableName": "relay-spool",
        "InstanceArn": ANSWERS.instance,
        "Addresses": '"support@example.com"',
        "Destination": "support@example.com",
    }
    filled = re.sub(r"\$\{([^}]+)\}", lambda found: values[found[1]], text)
    config = read_values(tomllib.loads(filled))
    assert (config.fleet.table, config.fleet.prefix) == ("relay-spool", "spool/")
    assert config.s3.prefix == "mail/"
    assert "RELAY_FLEET__NODE=$(cat /etc/hostname)" in _TEXT["Command"][0]


def test_nodes_are_drained_and_replaced_one_after_the_other():
    """A machine that is to end waits for its node, the load balancer names peers, and a deployment leaves at
    least half of the nodes.
    """
    group = FLEET["Capacity"]["Properties"]["AutoScalingGroupProvider"]
    assert group["ManagedDraining"] == "ENABLED"
    service = FLEET["Service"]["Properties"]
    assert service["DeploymentConfiguration"]["MinimumHealthyPercent"] >= 50
    assert service["PlacementConstraints"] == [{"Type": "distinctInstance"}]
    attributes = {
        each["Key"]: each["Value"] for each in FLEET["Targets"]["Properties"]["TargetGroupAttributes"]
    }
    assert attributes["proxy_protocol_v2.enabled"] == "true"
    assert int(attributes["deregistration_delay.timeout_seconds"]) <= _TEXT["StopTimeout"]
    assert FLEET["Machines"]["Properties"]["VPCZoneIdentifier"] == "SubnetIds"
    assert "MountPoints" not in _TEXT, "no disk has mail"


def test_alarms_are_those_of_a_single_relay_and_one_more():
    """Whoever changes from one relay to a fleet is woken by the same, and when nobody delivers."""

    def alarms(stack):
        found = [each["Properties"] for each in stack.values() if each["Type"] == "AWS::CloudWatch::Alarm"]
        for each in found:
            assert each["MetricName"] in SOURCES
            assert (each["Namespace"], each["Dimensions"]) == (
                NAMESPACE,
                [{"Name": DIMENSION, "Value": "relay"}],
            )
        return {(each["MetricName"], each["Statistic"], each["Threshold"]) for each in found}

    assert alarms(FLEET) - alarms(STACK) == {("DelivererSilentSeconds", "Maximum", 75)}
    assert alarms(STACK) <= alarms(FLEET)
