-- table:   geographic_distribution
-- grain:   event_date × country
-- purpose: where viewers are, by the country that the client sent.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date     date    date of the events (UTC)
--   country        text    ISO 3166-1 alpha-2 code as sent; null: none was sent
--   region         text    the country's region; null: country unknown
--   plays          bigint  PLAY_START events
--   viewers        bigint  distinct profiles with any event on the date; not to be added up over dates
--   sessions       bigint  sessions with any event on the date
--   watch_seconds  double  seconds watched
--   share_of_plays double  plays ÷ all plays of the date; null on a date without plays
select
    event_date,
    country,
    max(region) as region,
    sum(plays) as plays,
    count(distinct viewer) as viewers,
    count(distinct session_id) as sessions,
    sum(watch_us) / 1000000.0 as watch_seconds,
    cast(sum(plays) as double) / nullif(sum(sum(plays)) over (partition by event_date), 0) as share_of_plays
from playback
group by event_date, country
