-- table:   dates linked to changed rows
-- grain:   one date
-- purpose: dates with rows that share an event_id with a changed row of another date, up to 3 days away: whether those
--          rows are repeats may have changed with it. All other dates near a change need no second look.
-- reads:   silver (dates near the changed ones), touched (rows of the files that came or went)
-- columns: event_date
select distinct silver.event_date
from silver
inner join touched on silver.event_id = touched.event_id
where
    silver.event_date <> touched.event_date
    and abs(date_diff('day', silver.event_date, touched.event_date)) <= 3
