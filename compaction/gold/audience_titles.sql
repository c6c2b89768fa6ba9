-- table:   audience_titles
-- grain:   event_date × title × country × device type
-- purpose: who plays which titles where and on what. Every measure can be added up over any of its columns, which is what
--          filters on a dashboard do.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   title_id       text    the title
--   title          text    its name in the catalogue; null: unknown there
--   content_type   text    Movie or TV Show; null: title unknown
--   genres         text[]  of the title; null: title unknown
--   country        text    ISO 3166-1 alpha-2 code as sent; null: none was sent
--   region         text    the country's region; null: country unknown
--   device_type    text    as sent; null: none was sent
--   plays          bigint  PLAY_START events
--   watch_seconds  double  seconds watched
select
    event_date,
    title_id,
    max(title) as title,
    max(content_type) as content_type,
    max(genres) as genres,
    country,
    max(region) as region,
    device_type,
    sum(plays) as plays,
    sum(watch_us) / 1000000.0 as watch_seconds
from playback
group by event_date, title_id, country, device_type
