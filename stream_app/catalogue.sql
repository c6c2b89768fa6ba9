-- The title catalogue as the worker joins it.
--
-- grain:  one row per title_id (the first of repeated ones).
-- reads:  csv   the file's columns as text, in the public Netflix-titles layout, plus row_number
with ranked as (
    select
        *,
        row_number() over (partition by trim(show_id) order by row_number) as repetition
    from csv
    where nullif(trim(show_id), '') is not null
)

select
    trim(show_id) as title_id,
    nullif(trim(title), '') as title,
    nullif(trim(type), '') as content_type,
    list_filter(list_transform(string_split(coalesce(listed_in, ''), ','), lambda part: trim(part)), lambda part: part <> '')
        as genres,
    try_cast(trim(release_year) as integer) as release_year,
    nullif(trim(rating), '') as rating,
    nullif(trim(director), '') as director,
    -- "93 min" is a length; "2 Seasons" is none, so a series has null.
    try_cast(regexp_extract(trim(duration), '^([0-9]+) min$', 1) as double) * 60.0 as duration_s,
    list_filter(list_transform(string_split(coalesce(country, ''), ','), lambda part: trim(part)), lambda part: part <> '')
        as content_countries
from ranked
where repetition = 1
order by title_id
