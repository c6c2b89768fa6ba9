-- Plays by genre; a title counts in each of its genres.
with by_genre as (
    select unnest(genres) as genre, plays, watch_seconds from gold.audience_titles
    where
        event_date between $first and $last
        and is_chosen(country, $countries)
        and is_chosen(device_type, $devices)
)

select genre, sum(plays) as plays, sum(watch_seconds) / 3600 as watch_hours
from by_genre
group by genre
having sum(plays) > 0
order by plays desc, genre
limit 15
