-- grain:    one row per source: a Kafka partition of a topic (told apart by the topic's id) that has rows in any table.
-- purpose:  which sources there is something to prove about.
-- reads:    bronze, silver, quarantine, expired, settled, forgotten
select distinct topic, topic_id, kafka_partition from bronze
union
select distinct topic, topic_id, kafka_partition from silver
union
select distinct topic, topic_id, kafka_partition from quarantine
union
select distinct topic, topic_id, kafka_partition from expired
union
select distinct topic, topic_id, kafka_partition from settled
union
select distinct topic, topic_id, kafka_partition from forgotten
order by all
