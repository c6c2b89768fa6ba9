-- The numbers of $date and of each date with events in the week before.
with hours as (
    select event_date, sum(events) as events, sum(plays) as plays, sum(watch_seconds) / 3600 as watch_hours
    from gold.audience_hours
    where event_date between $date - 7 and $date
    group by event_date
),

titles as (
    select event_date, count(distinct title_id) filter (where plays > 0) as titles
    from gold.audience_titles
    where event_date between $date - 7 and $date
    group by event_date
)

select
    hours.event_date,
    cast(hours.events as bigint) as events,
    cast(hours.plays as bigint) as plays,
    hours.watch_hours,
    viewers.daily_viewers as viewers,
    viewers.new_viewers,
    coalesce(titles.titles, 0) as titles
from hours
left join gold.viewer_retention as viewers on hours.event_date = viewers.event_date
left join titles on hours.event_date = titles.event_date
order by hours.event_date
