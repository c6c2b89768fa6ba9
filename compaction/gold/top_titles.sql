-- table:   top_titles
-- grain:   title, over all dates
-- purpose: titles by plays. Replaced as a whole whenever title_daily changes.
-- reads:   gold/title_daily
-- columns:
--   rank           bigint  1 is the most played; equal plays: more watched, then title_id
--   title_id       text    the title
--   title          text    its name in the catalogue; null: unknown there
--   content_type   text    Movie or TV Show
--   plays          bigint  PLAY_START events
--   viewer_days    bigint  viewers added up over dates: a profile counts once on each date (distinct viewers over all dates can't be summed from dates)
--   watch_seconds  double  seconds watched
--   full_views     double  watch seconds ÷ duration_s; null for series
--   completion     double  watch seconds ÷ (duration_s × sessions of each date); null for series
--   first_date     date    first date with an event of the title
--   last_date      date    last date with one
with totals as (
    select
        title_id,
        max(title) as title,
        max(content_type) as content_type,
        sum(plays) as plays,
        sum(viewers) as viewer_days,
        sum(sessions) as sessions,
        sum(cast(round(watch_seconds * 1000000) as bigint)) as watch_us,
        cast(round(max(duration_s) * 1000000) as bigint) as duration_us,
        min(event_date) as first_date,
        max(event_date) as last_date
    from title_daily
    group by title_id
)

select
    row_number() over (order by plays desc, watch_us desc, title_id) as rank,
    title_id, title, content_type, plays, viewer_days,
    watch_us / 1000000.0 as watch_seconds,
    cast(watch_us as double) / duration_us as full_views,
    cast(watch_us as double) / (duration_us * sessions) as completion,
    first_date, last_date
from totals
order by rank
