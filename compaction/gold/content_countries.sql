-- table:   content_countries
-- grain:   event_date × country of the content
-- purpose: where titles come from against where they are watched. A title counts in each of its countries, so countries
--          don't add up to the total.
-- partition: event_date
-- reads:   playback 0d..0d
-- columns:
--   event_date       date    date of the events (UTC)
--   content_country  text    ISO 3166-1 alpha-2 code, one of the title's countries in the catalogue
--   titles           bigint  distinct titles of the country with any event on the date
--   plays            bigint  PLAY_START events of these
--   plays_at_home    bigint  of those, by viewers in the same country
--   viewer_countries bigint  distinct countries of the viewers
--   watch_seconds    double  seconds watched
--   share_abroad     double  share of plays by viewers elsewhere or of unknown country; null without plays
with by_country as (
    select event_date, unnest(content_countries) as content_country, title_id, country, plays, watch_us
    from playback
)

select
    event_date,
    content_country,
    count(distinct title_id) as titles,
    sum(plays) as plays,
    coalesce(sum(plays) filter (where country = content_country), 0) as plays_at_home,
    count(distinct country) as viewer_countries,
    sum(watch_us) / 1000000.0 as watch_seconds,
    1.0 - cast(coalesce(sum(plays) filter (where country = content_country), 0) as double) / nullif(sum(plays), 0)
        as share_abroad
from by_country
group by event_date, content_country
