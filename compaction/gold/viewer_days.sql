-- table:   viewer_days
-- grain:   event_date × viewer
-- purpose: who was there on which date, without saying who: what viewer_retention counts.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   viewer_key     text    hash of user_id and profile_id
--   sessions       bigint  sessions with any event on the date
--   plays          bigint  PLAY_START events
--   watch_seconds  double  seconds watched
select
    event_date,
    left(md5(viewer), 16) as viewer_key,
    count(distinct session_id) as sessions,
    sum(plays) as plays,
    sum(watch_us) / 1000000.0 as watch_seconds
from playback
group by event_date, viewer
