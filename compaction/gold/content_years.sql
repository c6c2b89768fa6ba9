-- table:   content_years
-- grain:   event_date × release year × content type
-- purpose: how old what is watched is.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   release_year   integer of the title in the catalogue; null: unknown
--   content_type   text    Movie or TV Show; null: title unknown
--   titles         bigint  distinct titles with any event on the date
--   plays          bigint  PLAY_START events
--   viewers        bigint  distinct profiles with any event on the date; not to be added up over dates or years
--   watch_seconds  double  seconds watched
--   share_of_plays double  plays ÷ all plays of the date; null on a date without plays
select
    event_date,
    release_year,
    content_type,
    count(distinct title_id) as titles,
    sum(plays) as plays,
    count(distinct viewer) as viewers,
    sum(watch_us) / 1000000.0 as watch_seconds,
    cast(sum(plays) as double) / nullif(sum(sum(plays)) over (partition by event_date), 0) as share_of_plays
from playback
group by event_date, release_year, content_type
