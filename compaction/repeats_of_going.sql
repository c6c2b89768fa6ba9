-- grain:    one record of bronze that is in neither silver nor quarantine only because it repeats an event, all of
--           whose rows in silver go.
-- purpose:  positions whose reason goes; `verify` has to know them.
-- reads:    bronze, silver, quarantine, going (columns of a position)
with ending as (
    select distinct event_id from silver semi join going using (topic, topic_id, kafka_partition, kafka_offset)
),

ended as (
    select event_id from ending
    except
    select event_id from silver anti join going using (topic, topic_id, kafka_partition, kafka_offset)
),

without_row as (
    select topic, topic_id, kafka_partition, kafka_offset, try(decode(value)) as text
    from bronze
    anti join going using (topic, topic_id, kafka_partition, kafka_offset)
    anti join silver using (topic, topic_id, kafka_partition, kafka_offset)
    anti join quarantine using (topic, topic_id, kafka_partition, kafka_offset)
),

events as (
    select
        topic, topic_id, kafka_partition, kafka_offset,
        try(case when json_valid(text) then json_transform(text, '{"event_id":"VARCHAR"}').event_id end) as event_id
    from without_row
)

select topic, topic_id, kafka_partition, kafka_offset from events semi join ended using (event_id)
