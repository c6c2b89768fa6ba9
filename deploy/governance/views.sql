-- purpose: what analysts see of a lake in DuckDB: no ids of users, profiles, sessions or events, no payloads, no bytes.
-- reads:   silver, quarantine, as `playlake.connect` has them
--
-- DuckDB has no users: who has the lake's files, or the connection, sees everything. So run this where they don't, and
-- give analysts what comes out of it (publish.py beside this file), not the connection.
create schema analyst;

create view analyst.events as
select
    event_date, event_timestamp, event_type, title_id, title, content_type, genres, release_year, rating, director,
    content_countries, duration_s, playhead_s, device_type, app_version, country, region, quality_score, warnings
from silver;

-- A viewer who is alone in a country on a date would be told by it: fewer than five are not shown.
create view analyst.title_countries as
select
    event_date, title_id, any_value(title) as title, country,
    count(distinct (user_id, profile_id)) as viewers,
    count(*) filter (where event_type = 'PLAY_START') as plays
from silver
where event_date is not null
group by event_date, title_id, country
having count(distinct (user_id, profile_id)) >= 5;

create view analyst.refused as
select ingest_date, topic, kafka_partition, kafka_offset, broker_timestamp, reasons, rule_set
from quarantine;
