-- grain:    one row per range of offsets, between a source's first and its last done one, that no table holds.
-- purpose:  transaction markers and compacted records leave such holes; so do lost records. Only the broker can tell.
-- reads:    sources, positions (positions.sql)
with spans as (
    select
        source_id,
        coalesce(any_value(sources.start), min(kafka_offset)) as first_offset,
        any_value(sources.done) as done
    from sources
    left join positions using (source_id)
    where sources.done is not null
    group by source_id
),

edges as (
    select source_id, kafka_offset
    from positions
    join spans using (source_id)
    where kafka_offset between first_offset and done
    union all
    select source_id, first_offset - 1 from spans
    union all
    select source_id, done + 1 from spans
),

steps as (
    select
        source_id,
        lag(kafka_offset) over (partition by source_id order by kafka_offset) + 1 as first_offset,
        kafka_offset - 1 as last_offset
    from edges
)

select source_id, first_offset, last_offset
from steps
where first_offset <= last_offset
order by all
