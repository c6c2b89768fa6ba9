-- table:   dates linked to changed rows
-- grain:   one source of gold and one of its dates
-- purpose: dates that a change reaches by way of its rows. repeats: those with rows that share an event_id with a changed
--          row, up to 3 days away, since another row may be the first one now. watched: those with events of the
--          sessions of all these rows, up to 7 days away. No other date near a change needs a second look.
-- reads:   silver (dates near the changed ones), touched (rows of the files that came or went)
-- columns: source, event_date
with changed as (
    select distinct event_id, session_id, event_date from touched
),

near_dates as (
    select distinct dates.event_date
    from (select distinct event_date from silver) as dates
    inner join (select distinct event_date from changed) as of_change
        on abs(date_diff('day', dates.event_date, of_change.event_date)) <= 3
),

same_event as (
    select session_id, event_date from changed
    union
    select silver.session_id, silver.event_date
    from silver
    inner join changed on silver.event_id = changed.event_id
    where
        silver.event_date in (select event_date from near_dates)
        and abs(date_diff('day', silver.event_date, changed.event_date)) <= 3
)

select 'repeats' as source, event_date from same_event
union
select 'watched' as source, silver.event_date
from silver
inner join same_event on silver.session_id = same_event.session_id
where abs(date_diff('day', silver.event_date, same_event.event_date)) <= 7
