-- table:   audience_hours
-- grain:   event_date × hour × country × device type
-- purpose: when people watch, where and on what. Every measure can be added up over any of its columns, which is what
--          filters on a dashboard do.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   event_hour     integer hour of the events, 0–23 (UTC); hours without any event have no row
--   country        text    ISO 3166-1 alpha-2 code as sent; null: none was sent
--   region         text    the country's region; null: country unknown
--   device_type    text    as sent; null: none was sent
--   events         bigint  events of any type
--   plays          bigint  PLAY_START events
--   watch_seconds  double  seconds watched, counted in the hour of the event that starts a gap
select
    event_date,
    event_hour,
    country,
    max(region) as region,
    device_type,
    sum(events) as events,
    sum(plays) as plays,
    sum(watch_us) / 1000000.0 as watch_seconds
from playback
group by event_date, event_hour, country, device_type
