-- table:   title_daily
-- grain:   event_date × title
-- purpose: how much each title was played and watched on each date.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   title_id       text    the title
--   title          text    its name in the catalogue; null: unknown there
--   content_type   text    Movie or TV Show
--   rating         text    age rating
--   director       text    directors, separated by commas
--   duration_s     double  length in seconds; null for series and unknown titles
--   plays          bigint  PLAY_START events
--   viewers        bigint  distinct profiles with any event of the title on the date; not to be added up over dates or titles
--   sessions       bigint  sessions with any event of the title on the date
--   watch_seconds  double  seconds watched, counted on the date of the event that starts a gap
--   completion     double  share of the title that its sessions of the date watched on average: watch seconds ÷ (duration_s × sessions)
--   full_views     double  watch seconds ÷ duration_s: whole viewings that the watched time amounts to
select
    event_date,
    title_id,
    max(title) as title,
    max(content_type) as content_type,
    max(rating) as rating,
    max(director) as director,
    max(duration_us) / 1000000.0 as duration_s,
    sum(plays) as plays,
    count(distinct viewer) as viewers,
    count(distinct session_id) as sessions,
    sum(watch_us) / 1000000.0 as watch_seconds,
    cast(sum(watch_us) as double) / (max(duration_us) * count(distinct session_id)) as completion,
    cast(sum(watch_us) as double) / max(duration_us) as full_views
from playback
group by event_date, title_id
