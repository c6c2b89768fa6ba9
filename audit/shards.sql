-- grain:    one row per kind of fault and source: how many positions, and the first few offsets.
-- purpose:  what only shards can have wrong: a record counted twice has two ordinals and one sequence number, and a
--           record read out of its shard's order an ordinal that its sequence number contradicts.
-- reads:    bronze, sources
create or replace temp view numbered as
select
    source_id,
    kafka_offset,
    done,
    value,
    decode(headers['kinesis.sequence_number']) as sequence_number,
    coalesce(decode(headers['kinesis.sub_sequence_number']), '0')::int as sub_sequence_number
from bronze
join sources using (topic, topic_id, kafka_partition)
where topic_id like 'kinesis:%';

with records as (
    select source_id, lpad(sequence_number, 57, '0') as sequence_number, sub_sequence_number, kafka_offset
    from numbered
    group by all
),

judged as (
    select
        source_id,
        kafka_offset,
        count(*) over (partition by source_id, sequence_number, sub_sequence_number) as times,
        (sequence_number, sub_sequence_number)
        < lag((sequence_number, sub_sequence_number)) over (partition by source_id order by kafka_offset) as is_back
    from records
),

kinds as (
    select source_id, kafka_offset, 'record_repeated' as kind from judged where times > 1
    union all
    select source_id, kafka_offset, 'out_of_order' from judged where is_back
)

select kind, source_id, count(*) as positions, min(kafka_offset, 5) as first_offsets
from kinds
group by all
order by all
