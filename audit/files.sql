-- grain:    one row per kind of fault and source: how many positions, and the first few offsets.
-- purpose:  what only records of files can have wrong: two positions of one line, or a position where the ledger has
--           another file.
-- reads:    bronze, sources, taken (the ledger: topic, topic_id, path, first_offset, …)
create or replace temp view of_files as
select source_id, kafka_offset, done, topic, topic_id, decode(key) as place, value
from bronze
join sources using (topic, topic_id, kafka_partition)
where topic_id like 'files:%';

with held as (
    select distinct source_id, topic, topic_id, kafka_offset, place from of_files
),

-- Of files that begin at the same ordinal all but the last one are without a record.
begins as (
    select topic, topic_id, first_offset, max_by(path, number) as path from taken group by all
),

judged as (
    select
        source_id,
        kafka_offset,
        count(*) over (partition by source_id, place) as times,
        coalesce(starts_with(place, path || ':'), false) as is_in_place
    from held
    asof left join begins
        on held.topic = begins.topic
        and held.topic_id = begins.topic_id
        and held.kafka_offset >= begins.first_offset
),

kinds as (
    select source_id, kafka_offset, 'line_repeated' as kind from judged where times > 1
    union all
    select source_id, kafka_offset, 'in_another_file' from judged where not is_in_place
)

select kind, source_id, count(*) as positions, min(kafka_offset, 5) as first_offsets
from kinds
group by all
order by all
