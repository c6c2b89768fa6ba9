-- grain:    one row per position that any of the three tables holds, with how often, or that is gone on purpose.
-- purpose:  the one pass over all tables that the questions of `verify` share.
-- reads:    bronze, silver, quarantine, expired, settled and forgotten (ranges, sink/gone.py), sources (source_id, topic, topic_id, …)
create or replace temp table positions as
with held as (
    select topic, topic_id, kafka_partition, kafka_offset, 'b' as held_by from bronze
    union all
    select topic, topic_id, kafka_partition, kafka_offset, 's' from silver
    union all
    select topic, topic_id, kafka_partition, kafka_offset, 'q' from quarantine
    union all
    select topic, topic_id, kafka_partition, unnest(range(first_offset, last_offset + 1)), 'x' from expired
    union all
    select topic, topic_id, kafka_partition, unnest(range(first_offset, last_offset + 1)), 'e' from settled
    union all
    select topic, topic_id, kafka_partition, unnest(range(first_offset, last_offset + 1)), 'f' from forgotten
)

select
    source_id,
    kafka_offset,
    count(*) filter (where held_by = 'b') as bronze,
    count(*) filter (where held_by = 's') as silver,
    count(*) filter (where held_by = 'q') as quarantine,
    bool_or(held_by = 'x') as is_expired,
    bool_or(held_by = 'e') as is_settled,
    bool_or(held_by = 'f') as is_forgotten
from held
join sources using (topic, topic_id, kafka_partition)
group by all;

-- grain:    one row per position that is done and in bronze, but in neither silver nor quarantine, and not because it
--           expired or was forgotten.
-- purpose:  each is a dropped duplicate, if silver holds its event_id at another position, else a lost row.
-- promise:  total: bytes that are neither JSON nor Avro have no event_id (event_id_of: sink/event_ids.py).
create or replace temp table unfated as
with wanted as (
    select source_id, topic, topic_id, kafka_partition, kafka_offset
    from positions
    join sources using (source_id)
    where
        bronze > 0 and silver = 0 and quarantine = 0 and kafka_offset <= done
        and not is_settled and not is_forgotten
),

events as (
    select source_id, kafka_offset, event_id_of(value) as event_id
    from bronze
    join wanted using (topic, topic_id, kafka_partition, kafka_offset)
),

kept as (
    select distinct event_id from silver semi join events using (event_id)
)

select source_id, kafka_offset, bool_or(kept.event_id is not null) as is_duplicate
from events
left join kept using (event_id)
group by all;
