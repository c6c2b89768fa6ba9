-- table:   device_mix
-- grain:   event_date × device type
-- purpose: what people watch on.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   device_type    text    as sent; null: none was sent
--   plays          bigint  PLAY_START events
--   viewers        bigint  distinct profiles with any event on the date; not to be added up over dates or devices
--   sessions       bigint  sessions with any event on the date
--   watch_seconds  double  seconds watched
--   share_of_plays double  plays ÷ all plays of the date; null on a date without plays
select
    event_date,
    device_type,
    sum(plays) as plays,
    count(distinct viewer) as viewers,
    count(distinct session_id) as sessions,
    sum(watch_us) / 1000000.0 as watch_seconds,
    cast(sum(plays) as double) / nullif(sum(sum(plays)) over (partition by event_date), 0) as share_of_plays
from playback
group by event_date, device_type
