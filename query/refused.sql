-- grain:    one row per quarantined record.
-- purpose:  what a person asks of quarantine: where a record came from, why it was refused, what its client said it was.
-- reads:    quarantine
-- columns:  client_version and event_type are what readable JSON says of itself; null where that is not to be had
select
    topic || '[' || kafka_partition || ']@' || kafka_offset as position,
    topic, topic_id, kafka_partition, kafka_offset, broker_timestamp, ingest_timestamp, ingest_date,
    reasons,
    list_filter(reasons, lambda reason: starts_with(reason, 'rule:')) as rules,
    detail,
    rule_set,
    case when json_valid(text) then json_extract_string(text, '$.app_version') end as client_version,
    case when json_valid(text) then json_extract_string(text, '$.event_type') end as event_type,
    octet_length(value) as value_bytes,
    key,
    value
from (select *, try(decode(value)) as text from quarantine)
