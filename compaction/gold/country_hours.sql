-- table:   country_hours
-- grain:   event_date × hour × country
-- purpose: volume by hour and country; what volume_anomalies compares.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   event_hour     integer hour of the events, 0–23 (UTC)
--   country        text    ISO 3166-1 alpha-2 code as sent; null: none was sent
--   events         bigint  events of any type
--   sessions       bigint  sessions with any event in the hour
--   plays          bigint  PLAY_START events
--   watch_seconds  double  seconds watched
--   spread         bigint  sum of the squares of events per session: the variance of `events` if sessions come at random
with sessions as (
    select
        event_date, event_hour, country, session_id,
        sum(events) as events, sum(plays) as plays, sum(watch_us) as watch_us
    from playback
    group by event_date, event_hour, country, session_id
)

select
    event_date, event_hour, country,
    sum(events) as events,
    count(*) as sessions,
    sum(plays) as plays,
    sum(watch_us) / 1000000.0 as watch_seconds,
    sum(events * events) as spread
from sessions
group by event_date, event_hour, country
