-- grain:    one record of bronze that is in neither silver nor quarantine only because it repeats an event, all of
--           whose rows in silver go.
-- purpose:  positions whose reason goes; `verify` has to know them.
-- reads:    bronze, silver, quarantine, going (columns of a position), event_id_of (sink/event_ids.py)
with ending as (
    select distinct event_id from silver semi join going using (topic, topic_id, kafka_partition, kafka_offset)
),

ended as (
    select event_id from ending
    except
    select event_id from silver anti join going using (topic, topic_id, kafka_partition, kafka_offset)
),

without_row as (
    select topic, topic_id, kafka_partition, kafka_offset, event_id_of(value) as event_id
    from bronze
    anti join going using (topic, topic_id, kafka_partition, kafka_offset)
    anti join silver using (topic, topic_id, kafka_partition, kafka_offset)
    anti join quarantine using (topic, topic_id, kafka_partition, kafka_offset)
)

select topic, topic_id, kafka_partition, kafka_offset from without_row semi join ended using (event_id)
