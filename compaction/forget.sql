-- grain:    one record of bronze or quarantine, or payload of silver, in which a person's id may stand.
-- purpose:  what `person.py` has a closer look at: the bytes, and whose record it is where that can be read.
-- reads:    bronze, quarantine, silver, person (id), forget_pattern (a variable: regular expression)
-- columns:
--   held_by   the table
--   owner     user_id of silver's row of the position, or as JSON says it; null where neither does
--   parts     all bytes of the record
-- promise:  total: bytes that are no UTF-8 or no JSON have no owner.
with held as (
    select
        'bronze' as held_by, topic, topic_id, kafka_partition, kafka_offset, value,
        list_concat(
            [key, value],
            list_concat(map_values(headers), list_transform(map_keys(headers), lambda name: encode(name)))
        ) as parts
    from bronze
    union all
    select
        'quarantine', topic, topic_id, kafka_partition, kafka_offset, value, [key, value, encode(detail)]
    from quarantine
    union all
    select
        'silver', topic, topic_id, kafka_partition, kafka_offset, encode(raw_payload), [encode(raw_payload)]
    from silver
    where raw_payload is not null
),

-- Escapes of JSON may hide an id from the pattern: of those records the user_id is read.
candidates as (
    select *, case when json_valid(text) then text end as document
    from (select *, try(decode(value)) as text from held) as readable
    where
        list_bool_or(
            list_transform(
                parts, lambda part: regexp_matches(cast(part as varchar), getvariable('forget_pattern'))
            )
        )
        or (
            contains(text, '\u')
            and case when json_valid(text) then json_extract_string(text, '$.user_id') end in (select id from person)
        )
)

select
    candidates.held_by,
    candidates.topic, candidates.topic_id, candidates.kafka_partition, candidates.kafka_offset,
    coalesce(
        silver.user_id,
        case
            when json_type(document, '$.user_id') in ('VARCHAR', 'BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')
                then json_extract_string(document, '$.user_id')
        end
    ) as owner,
    parts
from candidates
left join (
    select topic, topic_id, kafka_partition, kafka_offset, any_value(user_id) as user_id
    from silver
    semi join candidates using (topic, topic_id, kafka_partition, kafka_offset)
    group by all
) as silver using (topic, topic_id, kafka_partition, kafka_offset)
