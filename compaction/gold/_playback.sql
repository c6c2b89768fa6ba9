-- source:  playback
-- grain:   one session's share of an hour: event_date × event_hour × session × viewer × title × device × country
-- purpose: plays and watch seconds, with every event counted once; what all viewing tables are summed from.
-- reads:   watched 0d..0d, silver 0d..0d
-- columns:
--   event_date       date of the events (UTC)
--   event_hour       their hour, 0–23
--   session_id       their session
--   viewer           text that is the same for the same user_id and profile_id, and for no others
--   title_id, device_type, country   of the events
--   region           of the country
--   events           events
--   plays, pauses, seeks   PLAY_START, PAUSE, SEEK events
--   watch_us         microseconds watched, as the source watched tells
--   title, content_type, genres, rating, director, release_year, content_countries   of the title in the catalogue, as
--                    the date's rows have them
--   duration_us      length of the title in microseconds, null for series and unknown titles
with slices as (
    select
        event_date,
        epoch_us(event_timestamp) // 3600000000 % 24 as event_hour,
        session_id, viewer, title_id, device_type, country,
        max(region) as region,
        count(*) as events,
        count(*) filter (where event_type = 'PLAY_START') as plays,
        count(*) filter (where event_type = 'PAUSE') as pauses,
        count(*) filter (where event_type = 'SEEK') as seeks,
        sum(watch_us) as watch_us
    from watched
    where event_date in (select event_date from wanted)
    group by
        event_date, epoch_us(event_timestamp) // 3600000000 % 24, session_id, viewer, title_id, device_type, country
),

titles as (
    select
        event_date, title_id,
        max(title) as title, max(content_type) as content_type, max(genres) as genres, max(rating) as rating,
        max(director) as director, max(release_year) as release_year, max(content_countries) as content_countries,
        max(duration_s) as duration_s
    from silver
    where event_date in (select event_date from wanted)
    group by event_date, title_id
)

select
    slices.*,
    titles.title, titles.content_type, titles.genres, titles.rating, titles.director, titles.release_year,
    titles.content_countries,
    cast(round(nullif(titles.duration_s, 0) * 1000000) as bigint) as duration_us
from slices
inner join titles on slices.event_date = titles.event_date and slices.title_id = titles.title_id
