-- grain:    one row per kind of fault and source: how many positions, and the first few offsets.
-- purpose:  everything that the three tables alone can tell against the promise, except for holes.
-- reads:    bronze, quarantine, sources, and positions and unfated (positions.sql)
with judged as (
    select
        source_id,
        kafka_offset,
        unnest([
            case when bronze > 1 then 'repeated_in_bronze' end,
            case when silver > 1 then 'repeated_in_silver' end,
            case when quarantine > 1 then 'repeated_in_quarantine' end,
            case when silver > 0 and quarantine > 0 then 'in_silver_and_quarantine' end,
            case when silver > 0 and bronze = 0 and not is_expired and not is_forgotten then 'silver_not_in_bronze' end,
            case
                when quarantine > 0 and bronze = 0 and not is_expired and not is_forgotten
                    then 'quarantine_not_in_bronze'
            end,
            case when is_forgotten and bronze + silver + quarantine > 0 then 'forget_in_flight' end,
            case when silver > 0 and (done is null or kafka_offset > done) then 'silver_not_done' end
        ]) as kind
    from positions
    join sources using (source_id)
    where
        bronze <> 1 or is_forgotten or silver > 1 or quarantine > 1
        or (silver > 0 and (quarantine > 0 or done is null or kafka_offset > done))

    union all
    select source_id, kafka_offset, 'in_neither' from unfated where not is_duplicate

    union all
    select distinct source_id, kafka_offset, 'changed_value'
    from quarantine
    join bronze using (topic, topic_id, kafka_partition, kafka_offset)
    join sources using (topic, topic_id, kafka_partition)
    where quarantine.value is distinct from bronze.value
)

select kind, source_id, count(*) as positions, min(kafka_offset, 5) as first_offsets
from judged
where kind is not null
group by all
order by all
