-- name: rows_per_date
-- Rows of silver by date.
select event_date, count(*) as row_count from silver where event_date is not null group by event_date order by event_date;

-- name: event_types
-- Events by type.
select event_type, count(*) as row_count from silver group by event_type order by row_count desc, event_type;

-- name: top_titles_by_play_start
-- The ten titles that were started most.
select title_id, max(title) as title, count(*) as plays
from silver
where event_type = 'PLAY_START'
group by title_id
order by plays desc, title_id
limit 10;

-- name: plays_by_country
-- Starts and distinct users by country.
select country, count(*) as plays, count(distinct user_id) as users
from silver
where event_type = 'PLAY_START'
group by country
order by plays desc, country;

-- name: null_partition_rows
-- Rows that wait for a date, by what is wrong with their event time.
select warnings, count(*) as row_count from silver where event_date is null group by warnings order by row_count desc;
