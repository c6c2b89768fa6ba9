-- table:   top_directors
-- grain:   director, over all dates
-- purpose: directors by plays of their titles; a title of several directors counts for each. Replaced as a whole whenever
--          title_daily changes.
-- reads:   gold/title_daily
-- columns:
--   rank           bigint  1 is the most played; equal plays: more watched, then the name
--   director       text    one name
--   titles         bigint  distinct titles with any event
--   plays          bigint  PLAY_START events
--   watch_seconds  double  seconds watched
--   full_views     double  watch seconds ÷ duration_s, added up over titles; titles without a duration count nothing
with by_director as (
    select
        unnest(string_split(director, ',')) as part,
        title_id, plays,
        cast(round(watch_seconds * 1000000) as bigint) as watch_us,
        cast(round(duration_s * 1000000) as bigint) as duration_us
    from title_daily
    where director is not null
),

by_title as (
    select
        trim(part) as director, title_id,
        sum(plays) as plays, sum(watch_us) as watch_us,
        cast(sum(watch_us) as double) / max(duration_us) as full_views
    from by_director
    where trim(part) <> ''
    group by trim(part), title_id
),

totals as (
    select
        director,
        count(*) as titles, sum(plays) as plays, sum(watch_us) as watch_us,
        sum(cast(full_views as decimal(18, 6))) as full_views
    from by_title
    group by director
)

select
    row_number() over (order by plays desc, watch_us desc, director) as rank,
    director, titles, plays,
    watch_us / 1000000.0 as watch_seconds,
    full_views
from totals
order by rank
