-- table:   dim_date
-- grain:   date with events
-- purpose: dates of the star around fact_playback.
-- reads:   gold/temporal_trends
-- columns:
--   event_date     date    the date (UTC)
--   year           integer its year
--   quarter        integer 1–4
--   month          integer 1–12
--   day            integer day of the month
--   iso_week       integer week by ISO 8601
--   iso_weekday    integer 1 is Monday
--   is_weekend     boolean Saturday or Sunday
select
    event_date,
    extract(year from event_date) as year,
    extract(quarter from event_date) as quarter,
    extract(month from event_date) as month,
    extract(day from event_date) as day,
    extract(week from event_date) as iso_week,
    extract(isodow from event_date) as iso_weekday,
    extract(isodow from event_date) >= 6 as is_weekend
from (select distinct event_date from temporal_trends) as dates
order by event_date
