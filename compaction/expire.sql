-- grain:    one row per range of offsets without a gap.
-- purpose:  the positions that go with some files of bronze, so that `verify` knows them.
-- reads:    expiring (bronze, those files only)
with numbered as (
    select
        *,
        kafka_offset - row_number() over (
            partition by topic, topic_id, kafka_partition order by kafka_offset
        ) as island
    from (select distinct topic, topic_id, kafka_partition, kafka_offset from expiring)
)

select
    topic, topic_id, kafka_partition,
    min(kafka_offset) as first_offset,
    max(kafka_offset) as last_offset,
    $expire_id as expire_id
from numbered
group by topic, topic_id, kafka_partition, island
order by all
