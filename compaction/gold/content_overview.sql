-- table:   content_overview
-- grain:   event_date × content type
-- purpose: films against series: titles in play, plays, viewers, time watched.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   content_type   text    Movie or TV Show; null: title unknown
--   titles         bigint  distinct titles with any event on the date
--   plays          bigint  PLAY_START events
--   viewers        bigint  distinct profiles with any event on the date; not to be added up over dates
--   sessions       bigint  sessions with any event on the date
--   watch_seconds  double  seconds watched
--   completion     double  watch seconds ÷ duration_s over the sessions whose title has a duration; null for series
with sessions as (
    select
        event_date, content_type, session_id, viewer, title_id,
        max(duration_us) as duration_us, sum(plays) as plays, sum(watch_us) as watch_us
    from playback
    group by event_date, content_type, session_id, viewer, title_id
)

select
    event_date,
    content_type,
    count(distinct title_id) as titles,
    sum(plays) as plays,
    count(distinct viewer) as viewers,
    count(distinct session_id) as sessions,
    sum(watch_us) / 1000000.0 as watch_seconds,
    cast(sum(watch_us) filter (where duration_us is not null) as double) / sum(duration_us) as completion
from sessions
group by event_date, content_type
