-- grain:    one row per kind of fault and source: how many records of the stream, and the first few sequence numbers.
-- purpose:  each record that the stream still has, of those that are done, must be in bronze with its bytes, unless it
--           was taken out on purpose.
-- reads:    retained (source_id, sequence_number, sub_sequence_number, value), numbered (shards.sql), sources, positions
-- note:     bronze alone knows a record's ordinal. Ordinals are counted without a hole, so one that bronze lacks follows
--           from the next that it has, or from the last one done. Where more records are missing than ordinals, those
--           left over fall on ordinals that bronze has: nothing was taken out there, so they are lost.
with kept as (
    select
        source_id, sequence_number, sub_sequence_number,
        min(kafka_offset) as kafka_offset,
        arg_min(value, kafka_offset) as value,
        true as is_kept
    from numbered
    group by all
),

in_order as (
    select
        retained.source_id, retained.sequence_number, retained.value,
        kept.kafka_offset, kept.is_kept, kept.value as kept_value,
        row_number() over shard as place,
        count(*) over (partition by retained.source_id) as places
    from retained
    left join kept using (source_id, sequence_number, sub_sequence_number)
    window shard as (
        partition by retained.source_id order by lpad(retained.sequence_number, 57, '0'), retained.sub_sequence_number
    )
),

placed as (
    select
        in_order.*,
        place + coalesce(
            first_value(in_order.kafka_offset - place ignore nulls) over (
                partition by source_id order by place rows between current row and unbounded following
            ),
            done - places
        ) as ordinal
    from in_order
    join sources using (source_id)
)

select
    case when is_kept is null then 'lost' else 'other_bytes' end as kind,
    placed.source_id,
    count(*) as records,
    list_slice(list(sequence_number order by sequence_number), 1, 5) as first_numbers
from placed
left join positions on placed.source_id = positions.source_id and placed.ordinal = positions.kafka_offset
where
    (is_kept is null and not coalesce(positions.is_forgotten or positions.is_expired, false))
    or (is_kept and kept_value is distinct from placed.value)
group by all
order by all
