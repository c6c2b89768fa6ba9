-- table:   temporal_trends
-- grain:   event_date × hour
-- purpose: the daily curve: what happens in which hour (UTC).
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   event_hour     integer hour of the events, 0–23 (UTC); hours without any event have no row
--   events         bigint  events of any type
--   plays          bigint  PLAY_START events
--   viewers        bigint  distinct profiles with any event in the hour; not to be added up over hours
--   sessions       bigint  sessions with any event in the hour
--   watch_seconds  double  seconds watched, counted in the hour of the event that starts a gap
select
    event_date,
    event_hour,
    sum(events) as events,
    sum(plays) as plays,
    count(distinct viewer) as viewers,
    count(distinct session_id) as sessions,
    sum(watch_us) / 1000000.0 as watch_seconds
from playback
group by event_date, event_hour
