-- grain:    one row.
-- purpose:  how much goes, stays and is left, for people.
-- reads:    records, unfinished, going and sessions (going.sql), bronze, quarantine, silver
select
    (select count(*) from bronze semi join going using (topic, topic_id, kafka_partition, kafka_offset)) as bronze,
    (select count(*) from silver semi join going using (topic, topic_id, kafka_partition, kafka_offset)) as silver,
    (select count(*) from quarantine semi join going using (topic, topic_id, kafka_partition, kafka_offset))
        as quarantine,
    (select count(distinct event_date) from sessions) as dates,
    (
        select count(distinct (topic, topic_id, kafka_partition, kafka_offset))
        from records anti join going using (topic, topic_id, kafka_partition, kafka_offset)
        where not is_wanted
    ) as mentions,
    (
        select count(distinct (topic, topic_id, kafka_partition, kafka_offset))
        from records anti join going using (topic, topic_id, kafka_partition, kafka_offset)
        where is_wanted and not is_done
    ) as not_done,
    (select count(*) from going semi join unfinished using (topic, topic_id, kafka_partition, kafka_offset))
        as unfinished
