-- table:   dim_title
-- grain:   title, over all dates
-- purpose: titles of the star around fact_playback, as the newest date with events of theirs has them.
-- reads:   gold/title_daily
-- columns:
--   title_id       text    the title
--   title          text    its name in the catalogue; null: unknown there
--   content_type   text    Movie or TV Show
--   rating         text    age rating
--   director       text    directors, separated by commas
--   duration_s     double  length in seconds; null for series and unknown titles
--   first_date     date    first date with an event of the title
--   last_date      date    last date with one
with ranked as (
    select
        title_id, title, content_type, rating, director, duration_s,
        min(event_date) over (partition by title_id) as first_date,
        max(event_date) over (partition by title_id) as last_date,
        row_number() over (partition by title_id order by event_date desc) as place
    from title_daily
)

select title_id, title, content_type, rating, director, duration_s, first_date, last_date
from ranked
where place = 1
order by title_id
