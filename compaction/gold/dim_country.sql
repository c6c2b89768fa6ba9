-- table:   dim_country
-- grain:   country, over all dates
-- purpose: countries of the star around fact_playback.
-- reads:   gold/geographic_distribution
-- columns:
--   country        text    ISO 3166-1 alpha-2 code as sent; `unknown`: none was sent
--   region         text    its region; null: country unknown
--   first_date     date    first date with an event from it
--   last_date      date    last date with one
select
    coalesce(country, 'unknown') as country,
    max(region) as region,
    min(event_date) as first_date,
    max(event_date) as last_date
from geographic_distribution
group by coalesce(country, 'unknown')
order by country
