-- grain:    one row per range of offsets without a gap.
-- purpose:  positions that go, as `sink/gone.py` keeps them, so that `verify` knows them.
-- reads:    going (columns of a position; may repeat)
with numbered as (
    select
        *,
        kafka_offset - row_number() over (
            partition by topic, topic_id, kafka_partition order by kafka_offset
        ) as island
    from (select distinct topic, topic_id, kafka_partition, kafka_offset from going)
)

select
    topic, topic_id, kafka_partition,
    min(kafka_offset) as first_offset,
    max(kafka_offset) as last_offset,
    $gone_id as expire_id
from numbered
group by topic, topic_id, kafka_partition, island
order by all
