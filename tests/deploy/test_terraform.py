"""Terraform for AWS: it parses, every reference leads somewhere, nothing is declared in vain, and no role may too much.

What the provider says of arguments' names, `make terraform` asks the bindings that are generated from its schema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import hcl2
import pytest

from tests.deploy.tools import ROOT, load

TERRAFORM = ROOT / "deploy/terraform"
_OTHER_NAMES = {"count", "each", "path", "terraform", "self"}
_S3_ACTIONS = {"ListBucket", "GetBucketLocation", "GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload"}
"""S3's rights are not all named for its operations."""

Module = dict[str, Any]


@cache
def module() -> Module:
    """All files as one: kind of block → address → body. `resource` → `aws_s3_bucket.lake` → {…}."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(TERRAFORM.glob("*.tf"))]
    return merged(texts)


def merged(texts: list[str]) -> Module:
    found: Module = {kind: {} for kind in ("resource", "data", "ephemeral", "variable", "output", "local", "provider")}
    for text in texts:
        for kind, blocks in hcl2.loads(text).items():
            for block in blocks:
                for label, body in block.items():
                    name = label.strip('"')
                    if kind in ("resource", "data", "ephemeral"):
                        found[kind] |= {f"{name}.{second.strip(chr(34))}": each for second, each in body.items()}
                    elif kind in ("variable", "output", "provider"):
                        found[kind][name] = body
                    elif kind == "locals" and not name.startswith("__"):
                        found["local"][name] = body
    return found


def expressions(value: Any) -> Iterator[str]:
    """The inside of every `${…}` below a value."""
    if isinstance(value, dict):
        for each in value.values():
            yield from expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)
    elif isinstance(value, str) and "${" in value:
        yield from re.findall(r"\$\{((?:[^{}]|\{[^{}]*\})*)\}", value)


def references(value: Any) -> set[str]:
    """What a value names: `var.x`, `local.x`, `data.type.name`, `type.name`; not what an expression binds itself."""
    found = set()
    for expression in expressions(value):
        bound = {name for names in re.findall(r"\bfor ([\w, ]+) in\b", expression) for name in re.split(r", *", names)}
        bound |= {"statement"}  # of `dynamic "statement"`
        inside = [*re.findall(r"\$\{([^{}]*)\}", expression)]  # a text's own templates are code, the text is not
        code = " ".join([re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression), *inside])
        for chain in re.findall(r"(?<![\w.])[a-z_]\w*(?:\.[a-z_]\w*)+", code):
            parts = chain.split(".")
            if parts[0] not in bound | _OTHER_NAMES:
                found.add(".".join(parts[: 3 if parts[0] in ("data", "ephemeral") else 2]))
    return found


def declared(found: Module) -> set[str]:
    names = {f"var.{name}" for name in found["variable"]} | {f"local.{name}" for name in found["local"]}
    names |= {f"{kind}.{name}" for kind in ("data", "ephemeral") for name in found[kind]}
    return names | set(found["resource"])


def test_every_reference_leads_to_a_declaration() -> None:
    found = module()
    assert len(found["resource"]) >= 20
    assert set() == references(found) - declared(found)


@pytest.mark.parametrize(
    "wrong", ["var.nowhere", "local.nowhere", "aws_s3_bucket.nowhere.arn", "data.aws_iam_policy_document.nowhere.json"]
)
@pytest.mark.parametrize(
    "text", ['output "x" {{ value = {} }}', 'output "x" {{ value = "a ${{lower("${{{}}}")}} b" }}']
)
def test_a_wrong_reference_is_seen(wrong: str, text: str) -> None:
    found = merged([text.format(wrong)])
    assert 1 == len(references(found) - declared(found))


def test_nothing_is_declared_in_vain() -> None:
    found = module()
    used = references(found)
    named = {f"var.{name}" for name in found["variable"]} | {f"local.{name}" for name in found["local"]}
    named |= {f"data.{name}" for name in found["data"]}
    assert set() == named - used


def test_every_variable_and_output_is_described_and_typed() -> None:
    found = module()
    assert all(body["description"] for body in (*found["variable"].values(), *found["output"].values()))
    assert all(body["type"] for body in found["variable"].values())


def test_buckets_are_private_encrypted_and_have_lifecycle_rules() -> None:
    resources = module()["resource"]
    for bucket in ("lake", "results"):
        block = resources[f"aws_s3_bucket_public_access_block.{bucket}"]
        assert all(block[name] for name in block if name.startswith(("block_", "ignore_", "restrict_")))
        assert f"aws_s3_bucket_server_side_encryption_configuration.{bucket}" in resources
        assert resources[f"aws_s3_bucket_lifecycle_configuration.{bucket}"]["rule"]


def test_no_rule_expires_files_that_the_delta_log_names() -> None:
    rules = module()["resource"]["aws_s3_bucket_lifecycle_configuration.lake"]["rule"]
    expirations = [expiration for rule in rules for expiration in rule.get("expiration", [])]
    assert expirations
    assert all("days" not in expiration and "date" not in expiration for expiration in expirations)


def statements() -> Iterator[tuple[str, dict[str, Any]]]:
    """(policy, statement) of every document that says what a role may do."""
    for name, body in module()["data"].items():
        if name.startswith("aws_iam_policy_document.") and name.split(".")[1] not in ("key", "bucket", "trust"):
            for statement in body.get("statement", []):
                yield name, statement
            for dynamic in body.get("dynamic", []):
                for statement in dynamic['"statement"']["content"]:
                    yield name, statement


def plain(values: list[str]) -> list[str]:
    return [value.strip('"') for value in values]


def test_roles_have_no_wildcard_and_only_rights_that_exist() -> None:
    found = [(name, action) for name, statement in statements() for action in plain(statement["actions"])]
    assert len(found) >= 30
    for name, action in found:
        service, _, operation = action.partition(":")
        known = _S3_ACTIONS if service == "s3" else operations(service)
        assert operation in known, f"{name}: {action}"
    resources = [value for _, statement in statements() for value in plain(statement["resources"])]
    assert "*" not in resources


@cache
def operations(service: str) -> frozenset[str]:
    client = boto3.client(service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")  # noqa: S106
    return frozenset(client.meta.service_model.operation_names)


def test_the_rights_that_documents_ask_for_are_given() -> None:
    given = {action for _, statement in statements() for action in plain(statement["actions"])}
    asked = set(re.findall(r"`((?:kinesis|s3|glue):[A-Z]\w+)`", "".join(p.read_text() for p in ROOT.glob("docs/*.md"))))
    short = ["ListShards", "GetShardIterator", "GetRecords", "PutRecords"]
    assert asked
    assert asked | {f"kinesis:{name}" for name in short} <= given


def test_service_accounts_of_the_manifests_may_take_the_roles() -> None:
    manifests = (ROOT / "deploy/kubernetes/settings.yaml").read_text(encoding="utf-8")
    roles = set(re.findall(r"role/(\S+)", manifests))
    names = re.findall(r"kind: ServiceAccount\nmetadata:\n  name: (\S+)", manifests)
    assert {f"playlake-{name}" for name in ("worker", "compactor")} == roles == set(names)


DECLARATIONS = """
export interface BucketConfig extends cdktf.TerraformMetaArguments {
    /** Docs */
    readonly bucket: string;
    readonly rule?: BucketRule[] | cdktf.IResolvable;
    readonly tags?: { [key: string]: string; };
}
export interface BucketRule {
    readonly noncurrentDays: number;
}
"""


@pytest.mark.parametrize(
    "body, told",
    [
        ({"bucket": "b", "rule": [{"noncurrent_days": 1}], "tags": {"any": "x"}, "count": 1}, []),
        (
            {"bucket": "b", "rule": {"noncurent_days": 1}},
            ["b.rule: noncurent_days is no", "b.rule: noncurrentDays is mi"],
        ),
        (
            {"bukket": "b", "dynamic": [{"rule": {"content": {}}}]},
            ["b: bukket", "b.rule: noncurrentDays", "b: bucket is"],
        ),
    ],
)
def test_an_argument_that_the_provider_does_not_know_or_asks_for_is_told(body: dict[str, Any], told: list[str]):
    tool = load("terraform")
    found = list(tool.faults("b", body, tool.blocks(DECLARATIONS), "BucketConfig"))
    assert len(told) == len(found)
    assert all(fault.startswith(start) for fault, start in zip(found, told, strict=True))
