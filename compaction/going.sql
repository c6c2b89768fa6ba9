-- grain:    `unfinished`: one position that an earlier run was to clear. `going`: one position whose rows go. `sessions`:
--           a session and viewer of silver's rows that go, the viewer as gold.viewer_days has it.
-- purpose:  what a forgetting takes, from the records that were judged.
-- reads:    records (a position, is_wanted, is_done), person (id), bronze, quarantine, silver, forgotten (ranges)
create or replace temp table unfinished as
select distinct
    topic, topic_id, kafka_partition, unnest(range(first_offset, last_offset + 1)) as kafka_offset
from forgotten;

create or replace temp table going as
with unfinished_rows as (
    select topic, topic_id, kafka_partition, kafka_offset
    from bronze semi join unfinished using (topic, topic_id, kafka_partition, kafka_offset)
    union
    select topic, topic_id, kafka_partition, kafka_offset
    from quarantine semi join unfinished using (topic, topic_id, kafka_partition, kafka_offset)
    union
    select topic, topic_id, kafka_partition, kafka_offset
    from silver semi join unfinished using (topic, topic_id, kafka_partition, kafka_offset)
)

select topic, topic_id, kafka_partition, kafka_offset from records where is_wanted and is_done
union
select topic, topic_id, kafka_partition, kafka_offset from silver where user_id in (select id from person)
union
select topic, topic_id, kafka_partition, kafka_offset from unfinished_rows;

create or replace temp table sessions as
select
    session_id, event_date,
    left(md5(concat(length(user_id), ':', user_id, profile_id)), 16) as viewer_key
from silver semi join going using (topic, topic_id, kafka_partition, kafka_offset);
