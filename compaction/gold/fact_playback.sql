-- table:   fact_playback
-- grain:   event_date × hour × session × title × device type × country
-- purpose: the fact table of a star for BI tools: additive measures and the keys of dim_title, dim_date, dim_device and
--          dim_country.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC); key of dim_date
--   event_hour     integer hour of the events, 0–23 (UTC)
--   session_id     text    the session
--   title_id       text    key of dim_title
--   device_type    text    key of dim_device; `unknown`: none was sent
--   country        text    key of dim_country; `unknown`: none was sent
--   events         bigint  events of any type
--   plays          bigint  PLAY_START events
--   pauses         bigint  PAUSE events
--   seeks          bigint  SEEK events
--   watch_seconds  double  seconds watched
select
    event_date, event_hour, session_id, title_id,
    coalesce(device_type, 'unknown') as device_type,
    coalesce(country, 'unknown') as country,
    sum(events) as events, sum(plays) as plays, sum(pauses) as pauses, sum(seeks) as seeks,
    sum(watch_us) / 1000000.0 as watch_seconds
from playback
group by event_date, event_hour, session_id, title_id, coalesce(device_type, 'unknown'), coalesce(country, 'unknown')
